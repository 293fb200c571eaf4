"""A configuration chooses; it never runs code.

It is judged as soon as it is composed, before Hydra makes anything of it: `docs/security.md`.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mnist_gpu.errors import UserError

LONGEST = 300
CODE_KEYS = ("_target_", "_partial_", "_recursive_", "_args_", "_convert_")
# everything that Hydra may instantiate in a run of ours
TARGETS = {
    "hydra.sweeper._target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
}
LAUNCHERS = (
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra_plugins.mnist_gpu_launchers.SlurmLauncher",
    "hydra_plugins.mnist_gpu_launchers.LocalLauncher",
)
INSTANTIATED = ("callbacks", "launcher", "sweeper")
# a reference to another value, or one of the project's own two resolvers
HARMLESS = re.compile(r"\$\{(?:[\w.\[\]]+|mnist_gpu\.(?:utc|short_id):)\}")
REFUSED_OPTIONS = {
    "experimental_rerun": "--experimental-rerun: it would run code from a file",
    "config_path": "--config-path: use --config-dir to add a folder of choices",
    "config_name": "--config-name: use --config-dir and experiment=<name>",
}


def refuse_options(arguments: Sequence[str]) -> None:
    """Refuse Hydra's own options that would go around the project's configuration.

    Raises:
        UserError: one of them is used.
    """
    options, _ = get_args_parser().parse_known_args(list(arguments))
    for name, why in REFUSED_OPTIONS.items():
        if getattr(options, name, None) is not None:
            raise UserError(f"{why}; not allowed here")


@contextmanager
def guarded() -> Iterator[None]:
    """Within the block, Hydra hands out no configuration that has not been judged.

    Hydra has no door between composing and instantiating, so its loader is wrapped.
    """
    load = ConfigLoaderImpl.load_configuration

    @functools.wraps(load)
    def load_and_judge(
        self: ConfigLoaderImpl,
        config_name: str | None,
        overrides: list[str],
        *rest: Any,
        **named: Any,
    ) -> DictConfig:
        _refuse_packages(overrides)
        try:
            config = load(self, config_name, overrides, *rest, **named)
        except (HydraException, OmegaConfBaseException):
            raise
        except Exception as fault:  # Hydra lets what a damaged file causes through as it is
            text = " ".join(str(fault).split())[:LONGEST]
            raise UserError(
                f"a configuration file is not valid: {type(fault).__name__}: {text}"
            ) from None
        judge(config)
        return config

    ConfigLoaderImpl.load_configuration = load_and_judge  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl.load_configuration = load  # type: ignore[method-assign]


def judge(config: DictConfig) -> None:
    """Refuse a composed configuration that could run code or read secrets.

    Raises:
        UserError: it names the key.
    """
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    hydra = plain.pop("hydra", None) or {}
    refuse_code(plain)
    for path, value in _leaves("", plain):
        if isinstance(value, str) and "${" in HARMLESS.sub("", value):
            raise UserError(f"{path}={value}: only plain references like ${{seed}} are allowed")
    _judge_hydra(hydra)


def refuse_code(values: Any, allowed: dict[str, str] | None = None, start: str = "") -> None:
    """Refuse every key that names code, unless `allowed` has its path and value.

    Raises:
        UserError: it names the key.
    """
    for path, value in _leaves(start, values):
        if (path, value) in (allowed or {}).items():
            continue
        if any(part in CODE_KEYS for part in path.split(".")):
            raise UserError(f"{path}: a configuration may not name code to run")


def _judge_hydra(hydra: dict[Any, Any]) -> None:
    launcher = str((hydra.get("launcher") or {}).get("_target_", LAUNCHERS[0]))
    if launcher not in LAUNCHERS:
        raise UserError(
            f"hydra/launcher={launcher}: timed runs never share a device;"
            " use launcher=local, slurm or slurm_local"
        )
    refuse_code(hydra, {**TARGETS, "hydra.launcher._target_": launcher}, "hydra.")
    for part in INSTANTIATED:
        for path, value in _leaves(f"hydra.{part}", hydra.get(part)):
            if isinstance(value, str) and "${" in value:
                raise UserError(f"{path}={value}: no references are allowed here")
    if hydra.get("callbacks"):
        raise UserError("hydra.callbacks: none are allowed")
    for part in ("job_logging", "hydra_logging"):
        if hydra.get(part) is not None and hydra[part] not in _log_presets(part):
            raise UserError(
                f"hydra.{part}: only Hydra's own presets are allowed:"
                f" hydra/{part}=default, disabled or none"
            )
    job = hydra.get("job") or {}
    if job.get("env_set") or job.get("env_copy"):
        raise UserError("hydra.job.env_set: set environment variables in the shell instead")


def _refuse_packages(overrides: Sequence[str]) -> None:
    for override in overrides:
        if override.lstrip("+~").startswith("hydra.searchpath") and "pkg:" in override:
            raise UserError("hydra.searchpath: pkg:// would import code; name folders")


@functools.cache
def _log_presets(part: str) -> list[Any]:
    folder = resources.files("hydra.conf") / "hydra" / part
    texts = [p.read_text("utf-8") for p in folder.iterdir() if p.name.endswith(".yaml")]
    return [yaml.safe_load(text) for text in texts]


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every path and what stands there, the paths of empty containers included."""
    if not isinstance(value, (dict, list)) or not value:
        yield path, value
        return
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    prefix = f"{path.removesuffix('.')}." if path else ""
    for key, entry in entries:
        yield from _leaves(f"{prefix}{key}", entry)
