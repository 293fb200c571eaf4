"""Every value of the configuration checked before anything heavy is imported."""

import math
import re
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mnist_gpu.config.guard import refuse_code
from mnist_gpu.config.schema import (
    ACCELERATORS,
    KINDS,
    MAX_BATCH_SIZE,
    MAX_DEVICES,
    MAX_ENSEMBLE,
    MAX_EPOCHS,
    MAX_TRACED_STEPS,
    PRECISIONS,
    SCALINGS,
    Settings,
    TrainConfig,
)
from mnist_gpu.config.together import fit_together
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.network import Network

MAX_LAYER = 100_000
MAX_PARAMETERS = 500_000_000
NAME = re.compile(r"^[A-Za-z0-9_.+-]{1,64}$")


def check(config: DictConfig) -> Settings:
    """Turn a composed configuration into `Settings`.

    Raises:
        UserError: a value is outside what is allowed; the message names key, value and choices.
    """
    try:
        own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        plain = OmegaConf.to_container(own, resolve=True)
    except OmegaConfBaseException as fault:
        raise UserError(str(fault).splitlines()[0]) from None
    assert isinstance(plain, dict)
    values: dict[str, Any] = {str(key): value for key, value in plain.items()}
    refuse_code(values)
    for key in TrainConfig.__dataclass_fields__:
        if key not in values:
            raise UserError(f"{key}: missing")
    _whole("seed", values["seed"], 0, 2**32 - 1)
    _whole("epochs", values["epochs"], 1, MAX_EPOCHS)
    _whole("batch_size", values["batch_size"], 1, MAX_BATCH_SIZE)
    _whole("devices", values["devices"], 1, MAX_DEVICES)
    _whole("num_nodes", values["num_nodes"], 1, MAX_DEVICES)
    _choice("scaling", values["scaling"], SCALINGS)
    _whole("ensemble", values["ensemble"], 1, MAX_ENSEMBLE)
    _whole("checkpoint", values["checkpoint"], 0, MAX_EPOCHS)
    _whole("profiler", values["profiler"], 0, MAX_TRACED_STEPS)
    learning_rate = values["learning_rate"]
    if not (_finite(learning_rate) and 0 < learning_rate <= 10):
        raise UserError(f"learning_rate={learning_rate}: a number above 0, at most 10")
    if not isinstance(values["resume"], (str, type(None))):
        raise UserError(f"resume={values['resume']}: a run's folder, auto, or null")
    _flag("force", values["force"])
    _choice("precision", values["precision"], PRECISIONS)
    _platform(values["platform"])
    _group("engine", values["engine"], ("name", "steps_per_execution"))
    _group("logger", values["logger"], ("name",))
    _data(values["data"])
    model = _group("model", values["model"], ("name", "layers", "dropout"))
    _flag("model.dropout", model["dropout"])
    _layers(model["layers"])
    network = Network.from_config(model["name"], model["layers"], model["dropout"])
    if network.n_parameters > MAX_PARAMETERS:
        raise UserError(
            f"model.layers: {network.n_parameters:,} parameters, at most {MAX_PARAMETERS:,}"
        )
    values["steps_per_execution"] = _steps(values["steps_per_execution"])
    kept = {key: values[key] for key in Settings.__dataclass_fields__ if key in values}
    settings = Settings(**kept)
    fit_together(settings)
    return settings


def _whole(key: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UserError(f"{key}={value}: a whole number from {least} to {most}")


def _finite(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _flag(key: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise UserError(f"{key}={value}: true or false")


def _choice(key: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"{key}={value}: choose from {', '.join(choices)}")


def _steps(value: Any) -> int:
    if value == "auto":
        return 0
    if value == "epoch":
        return -1
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_BATCH_SIZE:
        raise UserError(
            f"steps_per_execution={value}: auto, epoch, or a whole number from 1 to"
            f" {MAX_BATCH_SIZE}"
        )
    return value


def _group(key: str, value: Any, needed: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{key}={value}: nothing is chosen; see conf/{key}/ for the choices")
    for entry in needed:
        if entry not in value:
            raise UserError(f"{key}.{entry}: missing; conf/{key}/<choice>.yaml must set it")
    name = value["name"]
    if not (isinstance(name, str) and NAME.match(name)):
        raise UserError(f"{key}.name={name!r}: letters, digits and _ . + - only")
    return value


def _platform(value: Any) -> None:
    platform = _group("platform", value, ("name", "label", "kind", "accelerator"))
    _choice("platform.kind", platform["kind"], KINDS)
    _choice("platform.accelerator", platform["accelerator"], ACCELERATORS)
    price = platform.get("price") or {}
    if not isinstance(price, Mapping):
        raise UserError(f"platform.price={price}: amount_per_hour, unit, source and as_of")
    amount = price.get("amount_per_hour")
    if amount is not None and not (_finite(amount) and amount >= 0):
        raise UserError(f"platform.price.amount_per_hour={amount}: a number from 0, or null")
    if amount is not None and not all(price.get(key) for key in ("unit", "source", "as_of")):
        raise UserError("platform.price: an amount needs its unit, source and as_of")


def _layers(value: Any) -> None:
    if not isinstance(value, list):
        raise UserError(f"model.layers={value!r}: a list of layers")
    for number, layer in enumerate(value):
        where = f"model.layers[{number}]"
        if not isinstance(layer, Mapping):
            raise UserError(f"{where}={layer!r}: a mapping like {{kind: relu}}")
        for key, entry in layer.items():
            if key in ("kind", "name"):
                if not (isinstance(entry, str) and NAME.match(entry)):
                    raise UserError(f"{where}.{key}={entry!r}: letters, digits and _ . + - only")
            elif not (_finite(entry) and 0 <= entry <= MAX_LAYER):
                raise UserError(f"{where}.{key}={entry!r}: a number from 0 to {MAX_LAYER}")


def _data(value: Any) -> None:
    if not isinstance(value, Mapping) or "source" not in value:
        raise UserError("data.source: missing; choose from mnist, synthetic, auto")
    _choice("data.source", value["source"], ("mnist", "synthetic", "auto"))
    for key in ("dir", "cache_dir"):
        entry = value.get(key)
        if entry is not None and not isinstance(entry, str):
            raise UserError(f"data.{key}={entry!r}: a folder, or null")
    _flag("data.download", value.get("download", True))
