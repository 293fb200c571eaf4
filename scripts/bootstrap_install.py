"""What `bootstrap.py` installs, and from where: its other half, sent with it as one text.

Standard library only. The project comes from an archive, a folder, git or a bundle; what the
platform lacks of its requirements from the bundle, or from the project's lock by its hashes.
"""

import email
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

# What a platform chose for its hardware: used at the version that is there.
PROTECTED = (
    r"torch|torchvision|torchaudio|triton|tensorflow|tensorflow-cpu|keras|numpy|jax|jaxlib|mlx"
    r"|protobuf|ml-dtypes|grpcio|libtpu|torch-xla|nvidia-.*-cu\d+|tensorflow-metal"
)
TORCH_STACK = ("torch", "torchvision", "lightning")
TORCH_ENGINES = ("torch", "lightning")
MNIST = {  # sizes in bytes of the gzipped originals, from http://yann.lecun.com/exdb/mnist/
    "train-images-idx3-ubyte.gz": 9912422,
    "train-labels-idx1-ubyte.gz": 28881,
    "t10k-images-idx3-ubyte.gz": 1648877,
    "t10k-labels-idx1-ubyte.gz": 4542,
}
MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"  # the one torchvision asks first


class BootstrapError(Exception):
    """One line for a person: what went wrong and what to do."""


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def commit_of(source: str | None, bundle: Path | None) -> str | None:
    """The commit that was installed, for the record: an installed project does not know its own."""
    if bundle:
        return json.loads((bundle / "manifest.json").read_text(encoding="utf-8")).get("commit")
    found = re.search(r"[0-9a-f]{40}", source or "")
    return found[0] if found else None


def overlay(home: Path) -> Path:
    """An environment of our own that sees the platform's packages; returns its Python.

    Not `--system-site-packages`: where the platform's Python is itself a virtual environment, that
    would show the packages of the Python below it.
    """
    python = home / "bin" / "python"
    if not python.exists():
        say(f"making an environment beside the platform's Python {sys.version.split()[0]}")
        visible = [entry for entry in sys.path if Path(entry).name.endswith("-packages")]
        has_pip = any((Path(entry) / "pip").is_dir() for entry in visible)
        try:
            venv.create(home, symlinks=True, with_pip=not has_pip)
        except (subprocess.CalledProcessError, OSError):
            raise BootstrapError(
                "this Python has no pip and no ensurepip: install python3-pip"
            ) from None
        if not has_pip:  # ensurepip's old setuptools would hide the platform's
            _do([str(python), "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools"])
        (_packages(home) / "platform.pth").write_text("\n".join(visible) + "\n", encoding="utf-8")
    return python


def _packages(home: Path) -> Path:
    [found] = (home / "lib").glob("python*/site-packages")
    return found


def fetch(source: str | None, bundle: Path | None, work: Path) -> Path:
    """The project's own folder, a checkout or what a wheel holds: none of it is built or run."""
    if source == "installed":  # a checkout or site-packages that this Python would import
        found = importlib.util.find_spec("mnist_gpu")
        if not (found and found.submodule_search_locations):
            raise BootstrapError("--source installed: this Python has no mnist-gpu")
        return Path(found.submodule_search_locations[0]).parent
    home = work / "project"
    shutil.rmtree(home, ignore_errors=True)
    if bundle:
        source = str(max(bundle.glob("mnist_gpu-*.whl"), default=""))
    elif source.startswith("git+"):
        url, _, commit = source.removeprefix("git+").rpartition("@")
        for step in (["init", "-q"], ["fetch", "-q", "--depth=1", url, commit],
                     ["checkout", "-q", "FETCH_HEAD"]):  # fmt: skip
            _do(["git", "-C", str(made(home)), *step])
    elif "://" in source:
        name = source.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
        with urllib.request.urlopen(source, timeout=60) as reply, open(work / name, "wb") as file:
            shutil.copyfileobj(reply, file)
        source = str(work / name)
    if os.path.isfile(source):
        shutil.unpack_archive(source, home, "zip")  # a wheel is one too
    root = Path(source) if os.path.isdir(source) else home
    for found in (root, *(sorted(root.iterdir()) if root.is_dir() else [])):
        if (found / "mnist_gpu").is_dir():
            return found.resolve()
    raise BootstrapError(f"{hidden(source)}: no mnist-gpu in there")


def install(
    python: Path, project: Path, bundle: Path | None, engine: str, pip_index: str | None
) -> None:
    """Make the project importable, and add those of its requirements that the platform lacks.

    They come from the bundle, or at the version and hash of the lock, none of them resolved anew.
    One in neither, or a platform's own that is too old, is an error.
    """
    (_packages(python.parents[1]) / "mnist_gpu.pth").write_text(f"{project}\n", encoding="utf-8")
    skipped = [] if engine in TORCH_ENGINES else TORCH_STACK
    asked = {"lines": requirements(project, engine), "engine": engine, "skipped": skipped}
    locked = {} if bundle else read_lock(project, engine)
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    pip += ["--no-color", "--no-input", "--no-cache-dir"]
    tried: set[str] = set()
    while True:
        facts = json.loads(_do([str(python), "-P", "-c", LACKING, PROTECTED], json.dumps(asked)))
        if facts["unfit"]:
            raise BootstrapError(f"this platform has {facts['unfit'][0]}")
        lacking = facts["lacking"]
        if not lacking:
            break
        if lost := [name for name in lacking if name in tried or not (bundle or name in locked)]:
            raise BootstrapError(f"{', '.join(lost)}: not here, and not in the project's lock")
        tried.update(lacking)
        say("adding " + " ".join(lacking))
        if pip_index and "torch" in lacking:
            # that index alone is asked, so what it has wins over anything newer elsewhere
            _do([*pip, "--index-url", pip_index, "torch", "torchvision"])
        elif bundle:
            _do([*pip, "--no-deps", "--no-index", "--find-links", str(bundle), *lacking])
        else:
            lines = python.parents[1] / "adding.txt"
            lines.write_text("".join(locked[name] for name in lacking), encoding="utf-8")
            _do([*pip, "--no-deps", "--require-hashes", "--requirement", str(lines)])
    say("kept as they are: " + (" ".join(facts["kept"]) or "-"))


# Run by the environment's own Python: what of the requirements is lacking there, and what of the
# platform's own cannot be used. The platform's packages count as whole; ours are looked through.
LACKING = r"""
import importlib.metadata, json, re, sys
from pip._vendor.packaging.requirements import Requirement
def plain(name): return re.sub('[-_.]+', '-', name).lower()
def ours(package): return str(package.locate_file('')).startswith(sys.prefix)
asked, found = json.load(sys.stdin), {}
for package in importlib.metadata.distributions():
    if package.name:
        found.setdefault(plain(package.name), package)
if 'tensorflow-cpu' in found:
    found.setdefault('tensorflow', found['tensorflow-cpu'])
kept = {n for n, p in found.items() if re.fullmatch(sys.argv[1], n) and not ours(p)}
skipped = {*asked['skipped'], *({'torchvision'} - found.keys() if 'torch' in kept else ())}
queue, lacking, unfit = [(line, asked['engine']) for line in asked['lines']], set(), []
seen = set()
while queue:
    line, extra = entry = queue.pop()
    wanted = Requirement(line)
    name = plain(wanted.name)
    left_out = wanted.marker and not wanted.marker.evaluate({'extra': extra})
    if entry in seen or left_out or name in skipped:
        continue
    seen.add(entry)
    have = found.get(name)
    if have is None or not wanted.specifier.contains(have.version, prereleases=True):
        if name in kept:
            unfit.append(f'{name} {have.version}, and {wanted.name}{wanted.specifier} is needed')
        lacking.add(name)
    elif ours(have):
        queue += [(line, e) for line in have.requires or () for e in ('', *wanted.extras)]
print(json.dumps({'lacking': sorted(lacking), 'unfit': unfit,
                  'kept': [f'{n}=={found[n].version}' for n in sorted(kept)]}))
"""


def engine_of(project: Path, overrides: list[str]) -> str:
    """The engine that the overrides name, or their platform's, or the default."""
    given = dict(entry.split("=", 1) for entry in overrides if "=" in entry)
    if "engine" in given:
        return given["engine"]
    for conf in (project / "conf", project / "mnist_gpu" / "conf"):
        path = conf / "platform" / f"{given.get('platform', 'auto')}.yaml"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if found := re.search(r"override /engine(?:@\S+)?: *(\w+)", text):
            return found[1]
    return "lightning"


def requirements(project: Path, engine: str) -> list[str]:
    """The requirement lines of a checkout or an unpacked wheel, those of the engine among them."""
    if (project / "pyproject.toml").is_file():
        import tomllib

        table = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return table["dependencies"] + table["optional-dependencies"].get(engine, [])
    [metadata] = project.glob("mnist_gpu-*.dist-info/METADATA")
    return email.message_from_string(metadata.read_text(encoding="utf-8")).get_all("Requires-Dist")


def read_lock(project: Path, engine: str) -> dict[str, str]:
    """By package, its lines of the lock that fits engine and machine: versions and hashes."""
    path = _locks(project) / f"{engine}.txt"
    if not path.is_file():
        path = _locks(project) / f"{fitting_lock(project)}.txt"
    found: dict[str, str] = {}
    for block in re.findall(r"^[^#\s].*\n(?:\s.*\n)*", path.read_text(encoding="utf-8"), re.M):
        name = block.partition("==")[0]
        found[name] = found.get(name, "") + block
    return found


def _locks(project: Path) -> Path:
    beside = project / "locks"
    return beside if beside.is_dir() else project / "mnist_gpu" / "locks"


def fitting_lock(project: Path) -> str:
    """`base`, or `cuda12` where the NVIDIA driver or GPU cannot run the CUDA of torch in `base`."""
    asks = ["nvidia-smi", "--query-gpu=driver_version,compute_cap", "--format=csv,noheader"]
    if not (_locks(project) / "cuda12.txt").is_file() or not shutil.which(asks[0]):
        return "base"
    base = (_locks(project) / "base.txt").read_text(encoding="utf-8")
    facts = (project / "mnist_gpu/measure/data/torch.yaml").read_text(encoding="utf-8")
    built = re.search(r"^nvidia-cudnn-cu(\d+)==", base, re.M)
    needs = built and re.search(
        rf'cuda: {built[1]}\n +driver: "([\d.]+)"\n +capability: ([\d.]+)', facts
    )
    shown = subprocess.run(asks, capture_output=True, text=True, check=False).stdout
    gpus = re.findall(r"^([\d.]+), ([\d.]+)$", shown, re.M)
    old = [gpu for gpu in gpus if needs and any(map(_before, gpu, needs.groups()))]
    return "cuda12" if old else "base"


def _before(version: str, least: str) -> bool:
    return [*map(int, version.split("."))] < [*map(int, least.split("."))]


def unpack(bundle: str, work: Path, manifest: str | None) -> tuple[Path, Path | None]:
    """A folder of our own with a bundle's wheels and its manifest, and where its MNIST lies; an
    error where a wheel is not what the manifest names, or that is not the one that was meant."""
    # the run starts in another folder, and is told where its MNIST lies
    root = Path(bundle).resolve()
    if root.is_file():
        shutil.unpack_archive(root, work / "bundle", "zip")
        root = work / "bundle"
    # a data set is mounted at a depth that the platform decides
    lists = [path.parent / "manifest.json" for path in sorted(root.rglob("mnist_gpu-*.whl"))]
    if not lists or not lists[-1].is_file():
        raise BootstrapError(f"{bundle}: no bundle there (no mnist_gpu-*.whl with a manifest.json)")
    text = lists[-1].read_bytes()
    if manifest and hashlib.sha256(text).hexdigest() != manifest:
        raise BootstrapError(f"{bundle}: its manifest.json is not the one that was sent")
    home = made(work / "wheels")
    (home / "manifest.json").write_bytes(text)
    for name, wanted in json.loads(text)["sha256"].items():
        path = lists[-1].parent / Path(name).name
        if path.suffix == ".whl":
            content = path.read_bytes() if path.is_file() else b""
            if hashlib.sha256(content).hexdigest() != wanted:
                raise BootstrapError(f"{name}: not what the bundle's manifest.json names")
            (home / path.name).write_bytes(content)
    # MNIST is checked by the project; some platforms unpack it into folders of the files' names
    images = [path for path in sorted(root.rglob("train-images-idx3-ubyte*")) if path.is_file()]
    parents = [place for place in images[0].parents if "ubyte" not in place.name] if images else []
    return home, next(iter(parents), None)


def mnist(work: Path, python: Path, environment: dict) -> Path | None:
    """Where MNIST is, if the project cannot be left to find it by itself."""
    looks = "import importlib.util as u; print(bool(u.find_spec('torchvision')))"
    if "MNIST_GPU_DATA" in environment or _do([str(python), "-P", "-c", looks]).strip() == "True":
        return None
    for name, size in MNIST.items():
        path = made(work / "mnist") / name
        if not (path.exists() and path.stat().st_size == size):
            say(f"fetching {MIRROR}{name}")
            with urllib.request.urlopen(MIRROR + name, timeout=60) as reply:
                path.write_bytes(reply.read())
    return work / "mnist"


def hidden(text: object) -> str:
    """`text` without the user, password and tokens of a URL."""
    plain = re.sub(r"(\w+://)[^/@\s]+@", r"\1***@", str(text))
    return re.sub(r"([?&][^=&#\s]+=)[^&#\s]+", r"\1***", plain)


def say(line: str) -> None:
    print(f"[bootstrap] {line}", flush=True)


def _do(command: list[str], stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return done.stdout
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    faults = [line for line in lines if line.startswith("ERROR:")] or lines[-1:] or command[:1]
    hint = "; no internet here? then give --bundle" if "pip" in command else ""
    raise BootstrapError(f"could not install: {hidden(faults[0].removeprefix('ERROR: '))}{hint}")
