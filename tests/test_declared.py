"""Every package that is imported is declared by the part of pyproject.toml that brings it."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
# which extras and groups a file may lean on, beside the dependencies that everybody has
PARTS = {
    "mnist_gpu/bench/": ("keras", "tensorflow", "mlx"),
    "mnist_gpu/engines/keras/": ("keras", "jax"),
    "mnist_gpu/engines/mlx/": ("mlx",),
    "mnist_gpu/engines/tensorflow/": ("tensorflow",),
    "mnist_gpu/parity/": ("keras", "tensorflow", "mlx"),
    "mnist_gpu/report/": ("report",),
    "mnist_gpu/runs/queue.py": ("slurm",),
}
LAUNCHERS = {
    "bundle": ("bundle",),
    "colab": ("colab",),
    "hub_api": ("jupyterhub",),
    "jupyterhub": ("jupyterhub",),
    "kaggle": ("kaggle",),
    "jetstream": ("jetstream",),
    "openstack_cloud": ("jetstream",),
}
# used where it happens to be installed, and said so in docs/platforms/m1.md
OPTIONAL = {"zeus_apple_silicon"}
# distributions whose name is not that of what is imported
NAMED = {"PIL": "pillow", "yaml": "pyyaml", "websocket": "websocket-client", "hydra": "hydra-core",
         "openstack": "openstacksdk", "pynvml": "nvidia-ml-py", "psutil": "psutil",
         "hydra_plugins": "hydra-submitit-launcher"}  # fmt: skip


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> dict[str, set[str]]:
    """Names of distributions by extra or group; "" for everybody's dependencies."""
    text = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    parts = {"": text["project"]["dependencies"], **text["project"]["optional-dependencies"]}
    groups = text["dependency-groups"]
    for name, lines in groups.items():
        included = [line["include-group"] for line in lines if isinstance(line, dict)]
        parts[name] = [line for line in lines if isinstance(line, str)]
        parts[name] += [line for group in included for line in groups[group]]
    return {
        name: {plain(re.split(r"[\s;<>=!~\[]", line, maxsplit=1)[0]) for line in lines}
        for name, lines in parts.items()
    }


def imports(path: Path) -> set[str]:
    """Top-level packages that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).split(".")[0])
    return found - sys.stdlib_module_names - {"mnist_gpu"} - OPTIONAL


@cache
def distributions(package: str) -> set[str]:
    known = installed().get(package, [])
    return {plain(NAMED.get(package, package)), *map(plain, known)}


@cache
def installed() -> Mapping[str, list[str]]:
    """By package, who brings it: found by reading the files of all that is installed."""
    return importlib.metadata.packages_distributions()


@pytest.mark.parametrize("folder", ["mnist_gpu", "hydra_plugins"])
def test_every_import_is_declared_where_it_is_used(folder: str) -> None:
    parts, undeclared = declared(), []
    for path in sorted((CHECKOUT / folder).rglob("*.py")):
        name = path.relative_to(CHECKOUT).as_posix()
        if name.startswith("mnist_gpu/launch/"):
            # a launcher's environment holds no more than its own lock
            may = parts["launch"].union(*(parts[p] for p in LAUNCHERS.get(path.stem, ())))
        else:
            extras = [
                extra for part, many in PARTS.items() if name.startswith(part) for extra in many
            ]
            may = parts[""].union(*(parts[extra] for extra in extras))
        undeclared += [f"{name}: {used}" for used in imports(path) if not distributions(used) & may]
    assert undeclared == []


def test_the_bootstrap_needs_nothing_but_python() -> None:
    assert imports(CHECKOUT / "scripts" / "bootstrap.py") == {"bootstrap_install"}
    assert imports(CHECKOUT / "scripts" / "bootstrap_install.py") == set()


@pytest.mark.parametrize("name", ["bundle", "colab", "jetstream", "jupyterhub", "kaggle"])
def test_what_a_launcher_drags_in_is_in_its_own_lock(name: str) -> None:
    """Its module is imported with everything else of this environment out of reach."""
    lock = (CHECKOUT / "locks" / f"{name}.txt").read_text()
    locked = {plain(found) for found in re.findall(r"^([\w.-]+)==", lock, re.M)}
    hidden = {
        package for package, names in installed().items() if not locked & set(map(plain, names))
    }
    code = f"""
import sys
hidden = {hidden - {"mnist_gpu", "hydra_plugins"} - sys.stdlib_module_names!r}
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in hidden:
            raise ModuleNotFoundError(f'not in the lock: {{name}}', name=name)
sys.meta_path.insert(0, Hide())
sys.argv = ['launch', {name!r}, '--help']
from mnist_gpu.launch.__main__ import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: scripts/")


UNPICKLES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def unsafe(text: str) -> set[str]:
    """What a module's text does that evaluates or unpickles."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found |= {name.split(".")[0] for name in names} & UNPICKLES
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called == "yaml.load" and ast.unparse(node).endswith("SafeLoader)"):
                continue
            found |= {called} & {"eval", "exec", "torch.load", "yaml.load", "yaml.unsafe_load"}
            found |= {ast.unparse(key) for key in node.keywords if key.arg == "allow_pickle"}
    return found - {"allow_pickle=False"}


@pytest.mark.parametrize(
    "planted",
    ["import pickle", "from pickle import load", "eval(x)", "torch.load(p)",
     "np.load(p, allow_pickle=True)", "yaml.load(t)", "yaml.load(t, yaml.FullLoader)"],
)  # fmt: skip
def test_what_unpickles_is_seen(planted: str) -> None:
    assert len(unsafe(planted)) == 1


def test_the_security_page_says_truly_who_unpickles() -> None:
    page = " ".join((CHECKOUT / "docs" / "security.md").read_text(encoding="utf-8").split())
    ours = [path for folder in ("mnist_gpu", "hydra_plugins", "scripts")
            for path in (CHECKOUT / folder).rglob("*.py")]  # fmt: skip
    assert "This project evaluates (`eval`, `exec`) and unpickles nothing" in page
    assert [path.name for path in ours if unsafe(path.read_text("utf-8"))] == []
    # what it leans on for Slurm does, and the page may not keep silent about that
    submitit = pytest.importorskip("submitit.core.utils")
    assert "pickle" in unsafe(Path(submitit.__file__).read_text("utf-8"))
    assert "**Submitit unpickles**: with `launcher=slurm`" in page
