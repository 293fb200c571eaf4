"""Whatever was wrong with a configuration, in the one line that the user reads."""

import difflib
import shlex
from collections.abc import Iterable, Mapping

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from mnist_gpu.config.reference import allowed, field_schema, keys_at, shown
from mnist_gpu.errors import UserError
from mnist_gpu.files import trouble
from mnist_gpu.paths import choices

LONGEST = 300


def near(word: str, known: Iterable[str]) -> str:
    """` (did you mean ...?)`, or nothing where no known word is like it."""
    known = list(known)
    # who stops typing early means the beginning
    begun = [one for one in known if len(word) > 2 and one.startswith(word)]
    found = begun or difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {found[0]}?)" if found else ""


def no_such_key(path: str, siblings: Iterable[str]) -> str:
    """That there is no key `path`, what was probably meant, and what there is beside it."""
    known = sorted(set(siblings) - {"hydra", "experiment"})
    last = path.rpartition(".")[2]
    return f"{path}: no such key{near(last, known)}; allowed are {', '.join(known) or 'none'}"


def no_such_choice(group: str, choice: str, known: Iterable[str]) -> str:
    """That a group has no such choice, what was probably meant, and the choices."""
    known = sorted(known)
    return f"{group}={choice}: choose from {', '.join(known)}{near(choice, known)}"


def format_error(exc: Exception) -> UserError:
    """What the user reads of any exception: what was wrong, where, what to do."""
    if isinstance(exc, UserError):
        return exc
    if isinstance(exc, (HydraException, OmegaConfBaseException)):
        return UserError(_composing(exc))
    text = " ".join(str(exc).split())[:LONGEST]
    if isinstance(exc, (yaml.YAMLError, UnicodeDecodeError)):
        return UserError(f"a configuration file is not valid YAML: {text}")
    if isinstance(exc, RecursionError):
        return UserError("the configuration is nested too deeply")
    if isinstance(exc, (OSError, MemoryError)):
        return UserError(trouble(exc))
    return UserError(f"unexpected {type(exc).__name__}: {text} (HYDRA_FULL_ERROR=1 shows where)")


def refused(exc: ValidationError, model: type[BaseModel]) -> str:
    """The first thing that `model` refuses, unknown keys before values."""
    # a key that is misspelled is often also the one that is missing
    error = min(exc.errors(), key=lambda error: error["type"] != "extra_forbidden")
    loc, value = error["loc"], error["input"]
    if error["type"] == "extra_forbidden":
        return no_such_key(".".join(map(str, loc)), keys_at(model, loc[:-1]))
    while len(loc) > 1 and not field_schema(model, loc):
        # in a union pydantic adds the type that it tried
        loc = loc[:-1]
    key = ".".join(map(str, loc))
    may_be = allowed(field_schema(model, loc))
    if known := choices(key):
        may_be = f"choose from {', '.join(known)}"
    if error["type"] == "missing":
        return f"{key}: missing; {may_be}"
    if error["type"] == "value_error":
        may_be = str(error["ctx"]["error"])
    if error["type"] == "string_type" and isinstance(value, (int, float)):
        quoted = shlex.quote(f'{key}="{value}"')
        may_be += f" (a number as text: {quoted})"
    return f"{key}={shown(value)}: {may_be}"


def _composing(exc: BaseException) -> str:
    if isinstance(exc, MissingConfigException) and exc.missing_cfg_file:
        return _missing(exc)
    if isinstance(exc, OverrideParseException):
        return _how_to_quote(str(exc.override))
    # Hydra wraps what OmegaConf raises, which alone knows the node
    cause: BaseException | None = exc
    while cause is not None:
        parent = getattr(cause, "parent_node", None)
        if isinstance(parent, Mapping) and "not override" in str(exc):
            path, known = str(getattr(cause, "full_key", "")), [str(key) for key in parent]
            more = f"; another argument of that class: +{path}=..." if "_target_" in known else ""
            return no_such_key(path, known) + more
        cause = cause.__cause__
    text = " ".join(str(exc).split("\nSee ")[0].split())
    if text.startswith("Ambiguous value for argument '"):
        override = text.split("'")[1]
        several = "several values are a sweep: add -m (a list is [a,b], text 'a,b' in quotes)"
        return f"{override}: {several}"
    return text[:LONGEST]


def _missing(exc: MissingConfigException) -> str:
    group, _, choice = str(exc.missing_cfg_file).strip("/").rpartition("/")
    if group == "hydra/launcher" and choice.startswith("mnist_gpu_"):
        asked = choice.removeprefix("mnist_gpu_")
        return f'launcher={asked} needs submitit: pip install "mnist-gpu[slurm]"'
    return no_such_choice(group, choice.removesuffix(".yaml"), exc.options or choices(group))


def _how_to_quote(override: str) -> str:
    """How to write an override whose value Hydra's grammar cannot read."""
    key, equals, value = override.partition("=")
    if not equals:
        return f"{override}: a key and its value, such as {key}=VALUE"
    quoted = value.strip("'\"").replace('"', '\\"')
    right = shlex.quote(f'{key}="{quoted}"')
    return f"{override}: quote the value, once for Hydra and once for the shell: {right}"
