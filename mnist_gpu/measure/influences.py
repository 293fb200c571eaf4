"""What reaches a training past its configuration: environment variables and settings files that
frameworks read by themselves (`influences.yaml` lists them, with what each does)."""

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mnist_gpu.errors import UserError
from mnist_gpu.paths import packaged

# frameworks set variables of their own once they are imported; those are nobody's wish
STARTED_WITH = dict(os.environ)
LONGEST = 100
# an engine, and with Keras its backend: what others read does not matter
ANYTHING = frozenset({"any", "lightning", "torch", "keras", "tensorflow", "jax", "mlx"})


def refuse_or_neutralise(
    environ: MutableMapping[str, str], uses: Collection[str] = ANYTHING
) -> list[str]:
    """Keep what changes the mathematics, the steps or the precision away from a training.

    Returns a line for each variable that was taken out of `environ`, which is changed in place.

    Raises:
        UserError: a variable or a settings file would change what is trained; it names it.
    """
    lines = []
    for name, value, entry in list(_entries(environ, uses)):
        what = f"environment variable {name}={value[:LONGEST]}"
        if entry["effect"] == "refuse":
            instead = f"; {entry['instead']}" if "instead" in entry else ""
            raise UserError(f"{what}: {entry['why']}; unset it{instead}")
        if entry["effect"] == "neutralise" and value != entry.get("to"):
            del environ[name]
            lines.append(f"{what} ignored: {entry['why']}")
    for entry in _concerning("variables", uses):
        if "to" in entry:
            environ[entry["name"]] = entry["to"]
    for entry in _concerning("files", uses):
        _refuse_settings(entry, environ)
    return lines


def speed_environment(
    environ: Mapping[str, str] | None = None,
    image: Mapping[str, str] | None = None,
    uses: Collection[str] = ANYTHING,
    preloaded: Path | None = None,
) -> dict[str, str]:
    """What the environment changes in speed alone: values by name, as a record may hold them, of a
    path only its last part.

    Args:
        environ: None: what this process was started with, before any framework added to it.
        image: what the platform's image sets (`image_defaults`) is left out.
        uses: as for `refuse_or_neutralise`.
        preloaded: the system's list of libraries for every process, for tests.
    """
    environ = STARTED_WITH if environ is None else environ
    found = {
        name: _plain(value)
        for name, value, entry in _entries(environ, uses)
        if entry["effect"] == "speed" and value
    }
    try:
        listed = (preloaded or Path(_table()["preloaded"])).read_text(errors="replace").split()
    except OSError:
        listed = []
    if listed:
        found["ld.so.preload"] = _plain(" ".join(listed))
    usual = {name: _plain(value) for name, value in (image or {}).items()}
    return {name: value for name, value in sorted(found.items()) if usual.get(name) != value}


def image_defaults(frontend: str) -> dict[str, str]:
    """The variables that the image of a platform, as `measure.detect` finds it, sets by itself."""
    return dict(_table()["images"].get(frontend, {}).get("variables", {}))


def _table() -> dict[str, Any]:
    return packaged("measure/influences")


def _concerning(part: str, uses: Collection[str]) -> list[dict[str, Any]]:
    return [entry for entry in _table()[part] if not {"any", *uses}.isdisjoint(entry["of"])]


def _entries(
    environ: Mapping[str, str], uses: Collection[str]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(name, value, entry) of every variable of which something is known."""
    known = _concerning("variables", uses)
    for name, value in environ.items():
        fitting = (
            entry
            for entry in known
            if fnmatchcase(name, entry["name"])
            and re.fullmatch(entry.get("when", ".*"), value, re.I | re.S)
        )
        if entry := next(fitting, None):
            yield name, value, entry


def _refuse_settings(entry: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    path = Path(entry["path"])
    if folder := environ.get(entry["folder"]):
        path = Path(folder) / path.name
    try:
        settings = json.loads(path.expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):
        # not there, or not readable: the framework then takes its defaults too
        return
    for name, usual in entry["defaults"].items():
        if isinstance(settings, dict) and settings.get(name, usual) != usual:
            raise UserError(
                f"{path}: {name} is {settings[name]}, which would change what is trained; set it"
                f" to {json.dumps(usual)} or move the file away"
            )


def _plain(value: str) -> str:
    """A value without folders, which may name a person, and without what acts on a reader."""
    words = re.sub(r"[^\s:,=]*/", "", value)
    return re.sub(r"[^\w .,:;=+*%-]", "?", words)[:LONGEST]
