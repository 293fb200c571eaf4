"""Hydra's and OmegaConf's complaints, in one line that says what to do."""

import difflib
import re

import yaml
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from mnist_gpu.config.compose import choices
from mnist_gpu.config.schema import TrainConfig
from mnist_gpu.errors import UserError
from mnist_gpu.files import trouble

COMPLAINTS = (
    HydraException,
    OmegaConfBaseException,
    yaml.YAMLError,
    UnicodeDecodeError,
    RecursionError,
)


def complaint(fault: Exception) -> UserError:
    """Whatever went wrong, as the one line that the user reads."""
    if isinstance(fault, UserError):
        return fault
    if isinstance(fault, COMPLAINTS):
        return UserError(one_line(fault))
    if isinstance(fault, OSError):
        return UserError(trouble(fault))
    if isinstance(fault, MemoryError):
        return UserError(f"out of memory: {' '.join(str(fault).split())}".rstrip(": "))
    text = " ".join(str(fault).split())
    return UserError(f"unexpected {type(fault).__name__}: {text} (HYDRA_FULL_ERROR=1 shows where)")


def one_line(fault: BaseException) -> str:
    """Say in one line which key was wrong, its value, and what is allowed."""
    if isinstance(fault, (yaml.YAMLError, UnicodeDecodeError)):
        return f"a configuration file is not valid YAML: {' '.join(str(fault).split())}"[:300]
    if isinstance(fault, RecursionError):
        return "the configuration is nested too deeply"
    return _composing(fault)


def _composing(fault: BaseException) -> str:
    if isinstance(fault, MissingConfigException):
        return _missing_choice(fault)
    text = "\n".join(str(part) for part in _chain(fault))
    if group := re.search(r"Could not find '?([\w/]+)/([^'\s]+)'?", text):
        return _choose(group[1], group[2])
    if unknown := re.search(r"Key '([^']+)' is not in struct", text):
        return _unknown_key(text, unknown[1])
    if unknown := re.search(r"Could not override '([^']+)'", text):
        return _unknown_key(text, unknown[1])
    if wrong := re.search(r"Value '(.*)' of type '.*' could not be converted to (\w+)", text):
        kind = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
        return f"{_full_key(text)}={wrong[1]}: {kind.get(wrong[2], wrong[2])}"
    return " ".join(str(fault).split("\nSee ")[0].split())


def _chain(fault: BaseException | None) -> list[BaseException]:
    return [] if fault is None else [fault, *_chain(fault.__cause__)]


def _full_key(text: str) -> str:
    found = re.search(r"full_key: (\S+)", text)
    return found[1] if found else "configuration"


def _missing_choice(fault: MissingConfigException) -> str:
    group, _, choice = str(fault.missing_cfg_file or "").rpartition("/")
    return _choose(group, choice) if group else " ".join(str(fault).split())


def _choose(group: str, choice: str) -> str:
    group = group.strip("/")
    if group == "hydra/launcher" and choice.startswith("mnist_gpu_"):
        asked = choice.removeprefix("mnist_gpu_")
        return f'launcher={asked} needs submitit: pip install "mnist-gpu[slurm]"'
    return f"{group}={choice.removesuffix('.yaml')}: choose from {', '.join(choices(group))}"


def _unknown_key(text: str, key: str) -> str:
    full_key = _full_key(text)
    full_key = key if full_key == "configuration" else full_key
    allowed = sorted(TrainConfig.__dataclass_fields__)
    if "." in full_key:
        return f"{full_key}: no such key; `--cfg job` prints the ones there are"
    near = difflib.get_close_matches(full_key, allowed, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"{full_key}: no such key{hint}; allowed are {', '.join(allowed)}"
