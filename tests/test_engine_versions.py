"""An engine's version stands beside a digest of its code, so that neither moves alone.

After a change of an engine's speed or mathematics raise its `version`; then, and after a change of
neither, `python -m tests.test_engine_versions` writes `engine_versions.yaml` anew.
"""

import hashlib
import io
import re
import tokenize
from pathlib import Path

import pytest
import yaml

from mnist_gpu import engines
from mnist_gpu.records.facts import facts

ENGINES = Path(engines.__file__).parent
KEPT = Path(__file__).with_name("engine_versions.yaml")
# what an engine is made of, beside its own folder and the base of all
SHARED = {"lightning": ("torch",), "tensorflow": ("keras",)}


def digest(engine: str, folder: Path = ENGINES) -> str:
    """Of what an engine's files do: docstrings and lines of comment in Python do not count."""
    files = [folder / "base.py"]
    for part in (engine, *SHARED.get(engine, ())):
        files += [path for path in (folder / part).rglob("*") if path.suffix in CODE]
    found = hashlib.sha256()
    for path in sorted(files):
        found.update(path.relative_to(folder).as_posix().encode())
        found.update(CODE[path.suffix](path.read_text("utf-8")).encode())
    return found.hexdigest()


def code_of(text: str) -> str:
    """The lines that do something, the same on every Python."""
    lines = text.splitlines()
    begins = True
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if begins and token.type == tokenize.STRING:
            first, last = token.start[0], token.end[0]
            lines[first - 1 : last] = [""] * (last - first + 1)
        if token.type not in (tokenize.NL, tokenize.COMMENT):
            begins = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    return "\n".join(line for line in lines if line.strip() and not line.strip().startswith("#"))


CODE = {".py": code_of, ".c": str, ".h": str, ".yaml": str}


def kept() -> dict[str, dict[str, object]]:
    return yaml.safe_load(KEPT.read_text("utf-8"))


@pytest.mark.parametrize("engine", engines.names())
def test_an_engines_code_and_its_version_move_together(engine: str) -> None:
    now = {"version": version(engine), "sha256": digest(engine)}
    assert kept().get(engine) == now, __doc__
    assert facts("engines")["engines"][engine]["version"] == now["version"]


@pytest.mark.parametrize(("name", "moves"), [("base.py", True), ("mlx/__init__.py", False)])
def test_a_change_of_what_an_engine_does_is_seen(tmp_path: Path, name: str, moves: bool) -> None:
    for path in ENGINES.rglob("*"):
        if path.suffix in CODE:
            (tmp_path / path.relative_to(ENGINES)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path.relative_to(ENGINES)).write_bytes(path.read_bytes())
    before = digest("torch", tmp_path)
    with (tmp_path / name).open("a") as file:
        file.write("\n# a comment\n")
    assert digest("torch", tmp_path) == before
    with (tmp_path / name).open("a") as file:
        file.write("\nanother = 1\n")
    assert (digest("torch", tmp_path) != before) is moves


def version(engine: str) -> int:
    """Without the framework: the class attribute as the code has it."""
    for path in (ENGINES / engine / "__init__.py", ENGINES / "base.py"):
        code = path.read_text("utf-8")
        if found := re.search(r"^    version: ClassVar\[int\] = (\d+)$", code, re.M):
            return int(found[1])
    raise LookupError(engine)


def main() -> None:
    now = {name: {"version": version(name), "sha256": digest(name)} for name in engines.names()}
    KEPT.write_text(yaml.safe_dump(now, sort_keys=True), "utf-8")


if __name__ == "__main__":
    main()
