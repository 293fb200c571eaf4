"""Composing the configuration, and checking what was composed.

Keys go by the names that they have now: `keys.yaml` has the old ones, and what took the place of
deleted ones.
"""

import os
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import to_absolute_path
from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from mnist_gpu.config.errors import format_error, no_such_choice, refused
from mnist_gpu.config.platform import PlatformSettings
from mnist_gpu.config.reference import help_text
from mnist_gpu.config.settings import Settings
from mnist_gpu.errors import UserError
from mnist_gpu.paths import choices, conf_dir, packaged
from mnist_gpu.records.rules.claims import known_platforms, looks_like_another, unlike_the_known

# groups that go into the record, where no secret of the environment may come through a resolver
RECORDED = ("platform", "engine", "model")
# each runs one job after the other, or each on machines of its own
LAUNCHERS = ("hydra._internal.core_plugins.basic_launcher.", "hydra_plugins.mnist_gpu_launchers.")
KEY = re.compile(r"^([+~]*)([\w./]+)(=.*)?$", re.S)
SEVERAL = ("callbacks", "experiment")
Model = TypeVar("Model", Settings, PlatformSettings)


def register() -> None:
    """Make the resolvers of `conf/train.yaml` known to Hydra, once or more."""
    resolvers = {
        "utc": lambda: datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
        # two runs in one second get different folders
        "short_id": lambda: secrets.token_hex(3),
        "values": lambda: help_text(Settings),
    }
    for name, resolver in resolvers.items():
        if not OmegaConf.has_resolver(f"mnist_gpu.{name}"):
            # cached, so that every mention in one configuration gives the same folder
            OmegaConf.register_new_resolver(f"mnist_gpu.{name}", resolver, use_cache=True)


def arguments(given: Sequence[str]) -> list[str]:
    """A command line as Hydra wants it: flags first, wherever they stood, and keys by the names
    that they have now; UserError for a deleted key, or a group without a choice."""
    options, unknown = get_args_parser().parse_known_intermixed_args(list(given))
    # what is left of them once every override is gone
    flags = list(given)
    for override in options.overrides:
        flags.remove(override)
    return [*flags, *(_present(one) for one in options.overrides if one not in unknown)]


def compose_config(given: Sequence[str]) -> DictConfig:
    """Compose `conf/train.yaml` as `python -m mnist_gpu.train` does, the `hydra` node included, by
    overrides and `--config-dir` with a folder of further choices.

    Raises:
        UserError: something in it is not possible; the message names it and what is.
    """
    # Hydra's own parser: --config-dir means here what it means to `train`
    options = get_args_parser().parse_args(arguments(given))
    overrides = list(options.overrides)
    if options.config_dir:
        overrides.append(f"hydra.searchpath=['file://{Path(options.config_dir).absolute()}']")
    register()
    # a host program may have a Hydra of its own under way
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            # the node of Hydra has the run's folder
            return compose("train", overrides=overrides, return_hydra_config=True)
    except Exception as exc:  # Hydra lets what a damaged file causes through as it is
        raise format_error(exc) from None
    finally:
        GlobalHydra.instance().hydra = before


def check(config: DictConfig) -> Settings:
    """Turn a composed configuration into `Settings`.

    Raises:
        UserError: a key or value is not allowed; the message names key, value and choices.
    """
    try:
        # the node of Hydra has its own keys and its own rules
        own = without_hydra(config)
        # references like ${hydra:runtime.output_dir} are those of the whole
        own._set_parent(config)
        _refuse_resolvers(own)
        plain: Any = OmegaConf.to_container(own, resolve=True)
    except UserError:
        raise
    except Exception as exc:  # OmegaConf raises many kinds
        raise format_error(exc) from None
    # old names first: the model knows only the present ones
    settings = _from_where_it_was_started(_checked(_modernise(plain), Settings))
    platform = settings.platform
    # `mnist_gpu.validate` would refuse the finished record
    for field, reason in (
        *unlike_the_known(platform, platform.price, platform.limits),
        *looks_like_another(platform.name, platform.label),
    ):
        raise UserError(
            f"{field}: {reason}; a platform of your own has a file of its own, and another name"
            " (docs/platforms/index.md)"
        )
    return settings


def without_hydra(config: DictConfig) -> DictConfig:
    """A copy of a composed configuration without Hydra's own node."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _from_where_it_was_started(settings: Settings) -> Settings:
    """With relative folders as they were meant, where Hydra has changed the present one."""
    if not (HydraConfig.initialized() and HydraConfig.get().job.chdir):
        return settings
    data, resume = settings.data, settings.resume
    folders = {"dir": data.dir or os.environ.get("MNIST_GPU_DATA"), "cache_dir": data.cache_dir}
    moved = {name: to_absolute_path(folder) for name, folder in folders.items() if folder}
    if resume not in (None, "auto"):
        resume = to_absolute_path(str(resume))
    return settings.model_copy(update={"data": data.model_copy(update=moved), "resume": resume})


def read_settings(path: Path) -> Settings:
    """The settings that a run left in its `.hydra/config.yaml`; UserError where there are none, or
    none that could be run now."""
    try:
        config = OmegaConf.load(path)
    except Exception as exc:  # whatever a damaged file causes
        raise format_error(exc) from None
    if not isinstance(config, DictConfig):
        raise UserError(f"{path}: not a configuration")
    return check(config)


def platforms() -> dict[str, PlatformSettings]:
    """Every platform of `conf/platform/`, by name, but `auto`."""
    found = {}
    for name, entry in known_platforms().items():
        plain = {key: value for key, value in entry.items() if key != "defaults"}
        found[name] = _checked(plain, PlatformSettings)
    return found


def refuse_shared_devices(launcher: str) -> None:
    """Refuse, by UserError, a launcher of Hydra's that runs several jobs on one machine at once."""
    if not launcher.startswith(LAUNCHERS):
        why = "timed runs never share a device; use launcher=local, slurm or slurm_local"
        raise UserError(f"hydra/launcher={launcher}: {why}")


def _refuse_resolvers(own: DictConfig) -> None:
    # `oc.env` could carry a token into a record that is published
    for group in RECORDED:
        raw = OmegaConf.to_container(own, resolve=False).get(group)  # type: ignore[union-attr]
        if "${oc." in str(raw) or "${hydra" in str(raw):
            raise UserError(f"{group}: goes into the record; only references like ${{seed}} there")


def _checked(plain: Any, model: type[Model]) -> Model:
    try:
        return model.model_validate(plain)
    except ValidationError as exc:
        raise UserError(refused(exc, model)) from None


def _present(override: str) -> str:
    """An override of the command line by the present names of keys; refuses none or several choices
    of a group."""
    match = KEY.match(override)
    if match is None:
        return override
    sign, key, value = match.groups()
    name = _present_name(key)
    if value is None:
        return override
    # with + or ~ a group is added or taken away, which Hydra judges itself
    known = choices(key) if not sign and key not in SEVERAL else []
    if known and value in ("=", "=null"):
        raise UserError(no_such_choice(key, value[1:], known))
    if known and value.startswith("=["):
        raise UserError(f"{override}: one at a time; choose from {', '.join(known)}")
    return f"{sign}{name}{value}"


def _modernise(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """A configuration as plain values by the present names of keys, at every depth."""
    renamed: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{above}{key}"
        name = _present_name(path).rpartition(".")[2]
        renamed[name] = _modernise(value, f"{path}.") if isinstance(value, dict) else value
    return renamed


def _present_name(key: str) -> str:
    """What a key is called now; refuses a deleted one, and anything beneath one."""
    keys = packaged("config/keys")
    for old, what in keys["deleted"].items():
        if key == old or key.startswith(f"{old}."):
            raise UserError(f"{key} {what}")
    return str(keys["renamed"].get(key, key))
