"""The rooms of the house: data flows one way, and nobody imports against it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mnist_gpu

PACKAGE = Path(mnist_gpu.__file__).parent
# the lowest first: a room imports from those before it
ROOMS = (
    *("errors", "paths", "files", "output", "collection", "system"),
    *("protocol", "timing", "data", "records", "measure", "engines", "config"),
    *("report", "runs", "launch", "checks"),
    *("train", "estimate", "doctor", "validate", "__main__"),
    *("parity", "faults", "bench"),
)
ENTRIES = ("train", "estimate", "doctor", "validate", "report/__main__")


def room_of(path: Path, package: Path = PACKAGE) -> str:
    return path.relative_to(package).with_suffix("").parts[0]


def imports(text: str) -> Iterator[str]:
    """The rooms of this package that a module's text imports, wherever in it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "mnist_gpu":
            yield from (alias.name for alias in node.names if alias.name in ROOMS)
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "mnist_gpu":
                yield parts[1]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "mnist_gpu" and len(parts) > 1:
                    yield parts[1]


def against(path: Path, text: str, package: Path = PACKAGE) -> list[str]:
    """What a module imports from a room above its own."""
    own = room_of(path, package)
    return [
        f"{path.relative_to(package)} imports {other}"
        for other in imports(text)
        if ROOMS.index(other) > ROOMS.index(own)
    ]


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def test_every_room_has_its_place():
    assert {room_of(path) for path in modules()} <= set(ROOMS)


def test_no_module_imports_against_the_direction():
    found = [line for path in modules() for line in against(path, path.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    "planted",
    [
        "from mnist_gpu.runs import execute",
        "def late():\n    from mnist_gpu import report",
        "import mnist_gpu.engines.base",
    ],
)
def test_a_planted_arrow_back_up_is_seen(planted):
    assert len(against(PACKAGE / "data" / "planted.py", planted)) == 1


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_stays_short(entry):
    assert len((PACKAGE / f"{entry}.py").read_text("utf-8").splitlines()) <= 100
