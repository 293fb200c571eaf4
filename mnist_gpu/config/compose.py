"""Where the configuration lives, and composing it from Python."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from mnist_gpu.config.guard import guarded
from mnist_gpu.config.schema import TrainConfig
from mnist_gpu.paths import conf_dir


def choices(group: str) -> list[str]:
    """The names one may choose in a config group."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def register() -> None:
    """Make the schema and the resolvers of `conf/train.yaml` known to Hydra, once or more."""
    ConfigStore.instance().store(name="train_schema", node=TrainConfig)
    for name, resolver in (("utc", utc_stamp), ("short_id", short_id)):
        if not OmegaConf.has_resolver(f"mnist_gpu.{name}"):
            # cached, so that every mention in one configuration gives the same folder
            OmegaConf.register_new_resolver(f"mnist_gpu.{name}", resolver, use_cache=True)


def utc_stamp() -> str:
    """The present instant as `20260131T235959Z`."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def short_id() -> str:
    """Six random hexadecimal digits: two runs in one second get different folders."""
    return secrets.token_hex(3)


def compose_config(overrides: Sequence[str]) -> DictConfig:
    """Compose `conf/train.yaml` with `overrides`, the `hydra` node included."""
    register()
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with guarded(), initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return compose("train", overrides=list(overrides), return_hydra_config=True)
    finally:
        GlobalHydra.instance().hydra = before
