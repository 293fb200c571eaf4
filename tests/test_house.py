"""The rooms of the house: data flows one way, nobody imports against it, and no two modules need
each other."""

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mnist_gpu

PACKAGE = Path(mnist_gpu.__file__).parent
# the lowest first: a room imports from those before it
ROOMS = (
    *("errors", "version", "paths", "files", "output", "collection", "system"),
    *("numbers", "fields"),
    *("protocol", "data", "timing", "measure", "engines", "records"),
    *("config", "runs", "report", "launch", "checks"),
    *("train", "estimate", "doctor", "validate", "__main__"),
    *("bench", "parity", "faults"),
    # the package's own doors, for whoever has installed it
    "__init__",
)
ENTRIES = ("train", "estimate", "doctor", "validate", "report/__main__")


def texts() -> dict[str, str]:
    """Every module's text, by its name."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {name_of(path): path.read_text("utf-8") for path in paths}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(name: str) -> str:
    """Of a module, or of something in one."""
    room = name.split(".")[1:2]
    return room[0] if room and room[0] in ROOMS else "__init__"


def imports(text: str) -> Iterator[str]:
    """What a module's text imports from this package, wherever in it; by `import_module`, too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        else:
            value = getattr(node, "value", None)
            named = isinstance(value, str) and re.fullmatch(r"mnist_gpu(\.\w+)+\.?", value)
            found = [value] if named and value.split(".")[1] in ROOMS else []
        yield from (name for name in found if name.split(".")[0] == "mnist_gpu")


def against(name: str, text: str) -> list[str]:
    """What a module imports from a room above its own."""
    own = ROOMS.index(room_of(name))
    return [
        f"{name} imports {other}" for other in imports(text) if ROOMS.index(room_of(other)) > own
    ]


def circle(modules: Mapping[str, str]) -> list[str]:
    """Modules that import each other, be it within functions; none if there are none."""
    graph = {
        name: {module_of(other, modules) for other in imports(text)} - {name}
        for name, text in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        return list(exc.args[1])
    return []


def module_of(name: str, modules: Mapping[str, str]) -> str:
    """The module in which a name is."""
    name = name.rstrip(".")
    while name not in modules:
        name = name.rpartition(".")[0]
    return name


def test_every_room_has_its_place():
    own = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert own - {"conf", "locks", "__pycache__"} <= set(ROOMS)


def test_no_module_imports_against_the_direction():
    assert [line for name, text in texts().items() for line in against(name, text)] == []


def test_no_modules_need_each_other():
    assert circle(texts()) == []


@pytest.mark.parametrize(
    "planted",
    [
        "from mnist_gpu.runs import execute",
        "def late():\n    from mnist_gpu import report",
        "import mnist_gpu.engines.base",
        "from mnist_gpu import __version__",
        "import mnist_gpu",
        "if TYPE_CHECKING:\n    from mnist_gpu.records.schema import Record",
        "runs = import_module('mnist_gpu.runs.app')",
    ],
)
def test_a_planted_arrow_back_up_is_seen(planted):
    assert len(against("mnist_gpu.data.planted", planted)) == 1


@pytest.mark.parametrize(
    ("module", "planted"),
    [
        ("mnist_gpu.errors", "def late():\n    from mnist_gpu.files import trouble"),
        ("mnist_gpu.bench.alone", "from mnist_gpu.bench.variants import built"),
    ],
)
def test_a_planted_circle_is_seen(module, planted):
    found = circle({**texts(), module: planted})
    assert module in found


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_stays_short(entry):
    assert len((PACKAGE / f"{entry}.py").read_text("utf-8").splitlines()) <= 100
