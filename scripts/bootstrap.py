#!/usr/bin/env python3
"""Run the benchmark on a platform one does not own, and leave its record where it comes back.

One file, standard library only, Python 3.11 to 3.13, because a Kaggle kernel, `colab run`, a hub's
terminal and cloud-init each take one text. It puts mnist-gpu into an environment of its own laid
over the platform's (whose torch, TensorFlow and NumPy are used and never replaced), adds what the
platform lacks from the project's lock, by its hashes, runs
`python -m mnist_gpu.train OVERRIDES` as a subprocess and relays its output, with the platform's own
engine and with Lightning's, by which machines are compared, copies each record to one place and
prints a line for it: `MNIST_GPU_RESULT {"status": ..., "sha256": ..., "record": ...}`.
"""

import argparse
import contextlib
import ctypes
import email
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path

# A launcher whose platform passes no arguments writes its choices here: the options of --help.
SETTINGS: dict = {}

MARK = "MNIST_GPU_RESULT"
GRACE_S = 60
COMMON = "lightning"  # the engine that every platform runs, stock
STOPPED = (130, 143, -signal.SIGINT, -signal.SIGTERM)  # exit codes of a run that somebody ended
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


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add = options.add_argument
    add("overrides", nargs="*", help="as for mnist_gpu.train: platform=colab engine=tensorflow")
    add("--source", help="the project: zip or wheel (URL or file), git+URL@commit, folder; or"
        " `installed` to use the one that is already there")  # fmt: skip
    add("--bundle", help="zip or folder made by scripts/make_bundle.py: install without internet")
    add("--manifest", help="SHA-256 that the bundle's manifest.json must have")
    add("--pip-index", help="one more package index, whose torch is taken before any other")
    add("--into", help="where the record and the run's folder go (/kaggle/working, else here)")
    add("--work", help="keep the environment here and use it again (else temporary)")
    add("--engines", help=f"the runs to make: `own` is the platform's or the overrides' engine, any"
        f" other is stock (own,{COMMON}; with engine= among the overrides own)")  # fmt: skip
    add("--timeout", type=float, help="seconds after which the runs are interrupted; with it"
        f" {COMMON} has the first turn")  # fmt: skip
    add("--tag", default="", help="repeated in the result, so that a stale one is noticed")
    add("--result-to", help="also write the marked line there, such as /dev/console")
    add("--dry-run", action="store_true", help="say what would be done, and do nothing")
    add("--fitting-lock", help=argparse.SUPPRESS)
    return options


def main(argv: list[str] | None = None) -> int:
    options = parser()
    options.set_defaults(**SETTINGS)
    chosen = options.parse_args(_arguments() if argv is None else argv)
    chosen.overrides = chosen.overrides or SETTINGS.get("overrides", [])
    if chosen.fitting_lock:
        print(fitting_lock(Path(chosen.fitting_lock)))
        return 0
    kaggle = Path("/kaggle/working")
    into = Path(chosen.into or (kaggle if kaggle.is_dir() else "."))
    temporary = None
    code = 0
    try:
        _check(chosen)
        if chosen.dry_run:
            print(f"source: {hidden(chosen.bundle or chosen.source)}\ninto: {into}")
            print("run: python -m mnist_gpu.train " + " ".join(chosen.overrides))
            print(f"engines: {chosen.engines}")
            return 0
        if there := [*into.glob("record.json"), *into.glob("record-*.json")]:
            raise BootstrapError(f"{there[0]} is there already: move it away")
        into.mkdir(parents=True, exist_ok=True)
        work = chosen.work or (temporary := tempfile.mkdtemp(prefix="mnist-gpu-"))
        for ended, result in bench(chosen, Path(work).resolve(), into.resolve()):
            announce({"tag": chosen.tag, **result}, chosen.result_to)
            code = code or ended
    except (BootstrapError, OSError) as fault:
        code = 1
        announce({"tag": chosen.tag, **failure(fault)}, chosen.result_to)
    except KeyboardInterrupt:
        code = 130
        result = {"status": "interrupted", "reason": "before training began"}
        announce({"tag": chosen.tag, **result}, chosen.result_to)
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
    return code


def failure(fault: Exception) -> dict:
    """The result of a run that did not begin; the line is for who reads along."""
    print(f"error: {hidden(fault)}", file=sys.stderr, flush=True)
    return {"status": "failed", "reason": hidden(fault)}


def _arguments() -> list[str]:
    """Leave out what a notebook's kernel was started with: `-f connection.json`."""
    return [] if "-f" in sys.argv[1:2] else sys.argv[1:]


def _check(chosen: argparse.Namespace) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - runs on whatever Python a platform has
        version = ".".join(map(str, sys.version_info[:2]))
        raise BootstrapError(f"Python {version}: mnist-gpu needs 3.11 or newer; pick a newer image")
    if not (chosen.source or chosen.bundle):
        raise BootstrapError("nothing to install: give --source URL or --bundle FILE")
    named = any(entry.startswith("engine=") for entry in chosen.overrides)
    chosen.engines = chosen.engines or ("own" if named else f"own,{COMMON}")
    if not re.fullmatch(r"\w+(,\w+)*", chosen.engines):
        raise BootstrapError(f"--engines {chosen.engines}: names such as own,{COMMON}")


def bench(chosen: argparse.Namespace, work: Path, into: Path) -> Iterator[tuple[int, dict]]:
    """Install, train, collect, once an engine: exit code and result, without its tag, of each."""
    ends = time.monotonic() + chosen.timeout if chosen.timeout else None
    work.mkdir(parents=True, exist_ok=True)
    bundle, data = unpack(chosen.bundle, work, chosen.manifest) if chosen.bundle else (None, None)
    project = installed() if chosen.source == "installed" else fetch(chosen.source, bundle, work)
    runs = plan(chosen, project)
    for name, overrides in runs.items():
        path = into / ("record.json" if name == "own" else f"record-{name}.json")
        try:
            python, environment = prepare(chosen, overrides, work, project, bundle, data)
            left_s = ends and ends - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise BootstrapError(f"no time is left of {chosen.timeout:g} s (--timeout)")
            code, result = train(python, environment, overrides, path, left_s)
        except (BootstrapError, OSError) as fault:
            hint = "" if name == "own" else f"engine={name}: "
            code, result = 1, failure(BootstrapError(f"{hint}{fault}"))
        stopped = code in STOPPED or result["status"] == "interrupted"
        yield code, {"engine": name, "last": stopped or name == [*runs][-1], **result}
        if stopped:
            return


def plan(chosen: argparse.Namespace, project: Path) -> dict[str, list[str]]:
    """The overrides of each run by its engine, `own` for the platform's, in the order of the runs.

    One that would be the same run as the platform's own is left out.
    """
    kept = [x for x in chosen.overrides if not re.match(r"[+~]*(engine[=.]|division=)", x)]
    plain = not any(re.match(r"[+~]*(engine\.|division=(?!stock))", x) for x in chosen.overrides)
    own = engine_of(project, chosen.overrides)
    runs = {}
    for name in chosen.engines.split(","):
        if name == "own":
            runs[name] = chosen.overrides
        elif not (name == own and plain and "own" in chosen.engines.split(",")):
            runs[name] = [*kept, f"engine={name}"]
    if chosen.timeout:  # what all platforms are compared by is not what goes missing
        return dict(sorted(runs.items(), key=lambda run: run[0] != COMMON))
    return runs


def installed() -> Path:
    """Where the project lies that this Python would import: a checkout or site-packages."""
    found = importlib.util.find_spec("mnist_gpu")
    if not (found and found.submodule_search_locations):
        raise BootstrapError("--source installed: this Python has no mnist-gpu")
    return Path(found.submodule_search_locations[0]).parent


def prepare(
    chosen: argparse.Namespace,
    overrides: list[str],
    work: Path,
    project: Path,
    bundle: Path | None,
    data: Path | None,
) -> tuple[Path, dict]:
    """A Python that has what one run needs, and the variables to start it with.

    Each framework has an environment of its own: one that cannot be installed spoils no other.
    """
    environment = dict(os.environ, PYTHONUNBUFFERED="1")
    if chosen.source == "installed":
        python = Path(sys.executable)
    else:
        say(f"installing {hidden(chosen.bundle or chosen.source)}")
        engine = engine_of(project, overrides)
        python = overlay(work / ("torch" if engine in TORCH_ENGINES else engine))
        install(python, project, bundle, engine, chosen.pip_index)
        environment["PYTHONSAFEPATH"] = "1"  # what was installed runs, not a folder of that name
    if data := data or _mnist(work, python, environment):
        environment["MNIST_GPU_DATA"] = str(data)
    if commit := _commit(chosen.source, bundle):
        environment.setdefault("MNIST_GPU_COMMIT", commit)
    return python, environment


def train(
    python: Path, environment: dict, overrides: list[str], path: Path, timeout: float | None
) -> tuple[int, dict]:
    """One run, whose record is copied to `path`: its exit code and result."""
    into = path.parent
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=_made(into / "outputs")))
    command = [str(python), "-m", "mnist_gpu.train", *overrides]
    say("running: python -m mnist_gpu.train " + " ".join(overrides))
    command.append(f"hydra.run.dir={folder.relative_to(into)}")
    code, last = relay(command, environment, into, timeout)
    return code, collect(folder, path, last or f"exit code {code}")


def _commit(source: str | None, bundle: Path | None) -> str | None:
    """The commit that was installed, for the record: an installed project does not know its own."""
    if bundle:
        return json.loads((bundle / "manifest.json").read_text(encoding="utf-8")).get("commit")
    found = re.search(r"[0-9a-f]{40}", source or "")
    return found[0] if found else None


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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
    """The project's own folder: a checkout, or what a wheel holds. Nothing of it is built or run.

    Raises:
        BootstrapError: there is no project at the source.
    """
    home = work / "project"
    shutil.rmtree(home, ignore_errors=True)
    if bundle:
        source = str(max(bundle.glob("mnist_gpu-*.whl"), default=""))
    elif source.startswith("git+"):
        url, _, commit = source.removeprefix("git+").rpartition("@")
        for step in (["init", "-q"], ["fetch", "-q", "--depth=1", url, commit],
                     ["checkout", "-q", "FETCH_HEAD"]):  # fmt: skip
            _do(["git", "-C", str(_made(home)), *step])
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

    Raises:
        BootstrapError: one is in neither, or cannot be had, or the platform's own is too old.
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
    """A folder of our own with a bundle's wheels and its manifest, and where its MNIST lies.

    Raises:
        BootstrapError: no bundle is there, or one of its wheels is not what the manifest names, or
            that is not the one that was meant.
    """
    root = Path(bundle)
    if root.is_file():
        shutil.unpack_archive(root, work / "bundle", "zip")
        root = work / "bundle"
    # a data set is mounted at a depth that the platform decides
    lists = [path.parent / "manifest.json" for path in sorted(root.rglob("mnist_gpu-*.whl"))]
    if not lists or not lists[-1].is_file():
        raise BootstrapError(f"{bundle}: no bundle there (no mnist_gpu-*.whl with a manifest.json)")
    text = lists[-1].read_bytes()
    if manifest and _sha256(text) != manifest:
        raise BootstrapError(f"{bundle}: its manifest.json is not the one that was sent")
    home = _made(work / "wheels")
    (home / "manifest.json").write_bytes(text)
    for name, wanted in json.loads(text)["sha256"].items():
        path = lists[-1].parent / Path(name).name
        if path.suffix == ".whl":
            content = path.read_bytes() if path.is_file() else b""
            if _sha256(content) != wanted:
                raise BootstrapError(f"{name}: not what the bundle's manifest.json names")
            (home / path.name).write_bytes(content)
    # MNIST is checked by the project; some platforms unpack it into folders of the files' names
    images = [path for path in sorted(root.rglob("train-images-idx3-ubyte*")) if path.is_file()]
    parents = [place for place in images[0].parents if "ubyte" not in place.name] if images else []
    return home, next(iter(parents), None)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _mnist(work: Path, python: Path, environment: dict) -> Path | None:
    """Where MNIST is, if the project cannot be left to find it by itself."""
    looks = "import importlib.util as u; print(bool(u.find_spec('torchvision')))"
    if "MNIST_GPU_DATA" in environment or _do([str(python), "-P", "-c", looks]).strip() == "True":
        return None
    for name, size in MNIST.items():
        path = _made(work / "mnist") / name
        if not (path.exists() and path.stat().st_size == size):
            say(f"fetching {MIRROR}{name}")
            with urllib.request.urlopen(MIRROR + name, timeout=60) as reply:
                path.write_bytes(reply.read())
    return work / "mnist"


def relay(
    command: list[str], environment: dict, folder: Path, timeout: float | None
) -> tuple[int, str]:
    """Run `command`, print its output line by line, and end it softly on Ctrl-C or too late.

    Returns its exit code and the last line it printed.
    """
    last = ""
    child = subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        # it does one system call, so threads do not endanger it
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
    )
    timers = []
    if timeout:
        timers.append(threading.Timer(timeout, child.send_signal, [signal.SIGINT]))
        timers.append(threading.Timer(timeout + GRACE_S, child.kill))
    for timer in timers:
        timer.daemon = True
        timer.start()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    assert child.stdout is not None
    try:
        while True:
            try:
                for line in child.stdout:
                    print(line, end="", flush=True)
                    last = line.strip() or last
                return child.wait(), last
            except KeyboardInterrupt:
                child.send_signal(signal.SIGINT)
    finally:
        for timer in timers:
            timer.cancel()


def _die_with_parent() -> None:
    """Have Linux interrupt the run when its starter is killed: nobody would fetch its record."""
    pr_set_pdeathsig = 1  # prctl(2)
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGINT)


def collect(folder: Path, target: Path, last: str) -> dict:
    """Copy the record out of the run's folder; say how the run ended, else `last`."""
    path = folder / "record.json"
    if not path.is_file():
        return {"status": "failed", "reason": f"the run left no record: {last[:200]}"}
    record = json.loads(path.read_text(encoding="utf-8"))
    shutil.copyfile(path, target)
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"status": record.get("status", "failed"), "sha256": digest, "record": record}


def announce(result: dict, also: str | None) -> None:
    line = f"{MARK} {json.dumps(result, sort_keys=True, separators=(',', ':'))}"
    print(line, flush=True)
    if also:
        with contextlib.suppress(OSError), open(also, "w", encoding="utf-8") as stream:
            # three times: the kernel's own messages may break into one
            stream.write(f"\n{line}\n" * 3)


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


if __name__ == "__main__":
    sys.exit(main())
