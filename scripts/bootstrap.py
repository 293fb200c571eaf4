#!/usr/bin/env python3
"""Run the benchmark on a platform one does not own, and leave its record where it comes back.

One file, standard library only, Python 3.11 to 3.13, because a Kaggle kernel, `colab run`, a hub's
terminal and cloud-init each take one text. It installs mnist-gpu into an environment of its own
laid over the platform's (whose torch, TensorFlow and NumPy are used and never replaced), runs
`python -m mnist_gpu.train OVERRIDES` as a subprocess and relays its output, copies the record to
one place and prints one line: `MNIST_GPU_RESULT {"status": ..., "sha256": ..., "record": ...}`.
"""

import argparse
import contextlib
import ctypes
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
import venv
import zipfile
from pathlib import Path

# A launcher whose platform passes no arguments writes its choices here: the options of --help.
SETTINGS: dict = {}

MARK = "MNIST_GPU_RESULT"
GRACE_S = 60
# What a platform chose for its hardware: pinned to the version that is there.
PROTECTED = re.compile(
    r"(torch|torchvision|torchaudio|triton|tensorflow|tensorflow-cpu|keras|numpy|jax|jaxlib|mlx"
    r"|protobuf|ml-dtypes|grpcio|libtpu|torch-xla|nvidia-.*-cu\d+|tensorflow-metal)"
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
    add("--source", help="the project: URL of an archive, git+URL@commit, wheel, folder; or"
        " `installed` to use the one that is already there")  # fmt: skip
    add("--bundle", help="zip or folder made by scripts/make_bundle.py: install without internet")
    add("--into", help="where the record and the run's folder go (/kaggle/working, else here)")
    add("--work", help="keep the environment here and use it again (else temporary)")
    add("--timeout", type=float, help="seconds after which the run is interrupted")
    add("--tag", default="", help="repeated in the result, so that a stale one is noticed")
    add("--result-to", help="also write the marked line there, such as /dev/console")
    add("--dry-run", action="store_true", help="say what would be done, and do nothing")
    return options


def main(argv: list[str] | None = None) -> int:
    options = parser()
    options.set_defaults(**SETTINGS)
    chosen = options.parse_args(_arguments() if argv is None else argv)
    chosen.overrides = chosen.overrides or SETTINGS.get("overrides", [])
    kaggle = Path("/kaggle/working")
    into = Path(chosen.into or (kaggle if kaggle.is_dir() else "."))
    temporary = None
    try:
        _check(chosen)
        if chosen.dry_run:
            print(f"source: {hidden(chosen.bundle or chosen.source)}\ninto: {into}")
            print("run: python -m mnist_gpu.train " + " ".join(chosen.overrides))
            return 0
        into.mkdir(parents=True, exist_ok=True)
        work = chosen.work or (temporary := tempfile.mkdtemp(prefix="mnist-gpu-"))
        code, result = bench(chosen, Path(work).resolve(), into.resolve())
    except (BootstrapError, OSError) as fault:
        code, result = 1, {"status": "failed", "reason": hidden(fault)}
        print(f"error: {hidden(fault)}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        code, result = 130, {"status": "interrupted", "reason": "before training began"}
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
    announce({"tag": chosen.tag, **result}, chosen.result_to)
    return code


def _arguments() -> list[str]:
    """Leave out what a notebook's kernel was started with: `-f connection.json`."""
    return [] if "-f" in sys.argv[1:2] else sys.argv[1:]


def _check(chosen: argparse.Namespace) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - runs on whatever Python a platform has
        version = ".".join(map(str, sys.version_info[:2]))
        raise BootstrapError(f"Python {version}: mnist-gpu needs 3.11 or newer; pick a newer image")
    if not (chosen.source or chosen.bundle):
        raise BootstrapError("nothing to install: give --source URL or --bundle FILE")


def bench(chosen: argparse.Namespace, work: Path, into: Path) -> tuple[int, dict]:
    """Install, train, collect. Returns the exit code and the result without its tag."""
    work.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ, PYTHONUNBUFFERED="1")
    bundle = unpack(chosen.bundle, work) if chosen.bundle else None
    if chosen.source == "installed":
        python = Path(sys.executable)
    else:
        python = overlay(work / "environment")
        install(python, work, chosen.source, bundle, chosen.overrides)
        environment["PYTHONSAFEPATH"] = "1"  # what was installed runs, not a folder of that name
    if data := _mnist(bundle, work, python, environment):
        environment["MNIST_GPU_DATA"] = str(data)
    if commit := _commit(chosen.source, bundle):
        environment.setdefault("MNIST_GPU_COMMIT", commit)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=_made(into / "outputs")))
    command = [str(python), "-m", "mnist_gpu.train", *chosen.overrides]
    say("running: python -m mnist_gpu.train " + " ".join(chosen.overrides))
    command.append(f"hydra.run.dir={folder}")
    code, last = relay(command, environment, into, chosen.timeout)
    return code, collect(folder, into, last or f"exit code {code}")


def _commit(source: str | None, bundle: Path | None) -> str | None:
    """The commit that was installed, for the record: an installed wheel does not know its own."""
    if bundle and (bundle / "manifest.json").is_file():
        manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
        return manifest.get("commit")
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
            _pip([str(python), "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools"])
        [packages] = (home / "lib").glob("python*/site-packages")
        (packages / "platform.pth").write_text("\n".join(visible) + "\n", encoding="utf-8")
    return python


def install(
    python: Path, work: Path, source: str | None, bundle: Path | None, overrides: list[str]
) -> None:
    """Install the project, then those of its requirements that the platform lacks."""
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    pip += ["--quiet", "--no-color", "--no-input"]
    if bundle:
        pip += ["--no-index", "--find-links", str(bundle)]
        wheels = sorted(bundle.glob("mnist_gpu-*.whl"))
        if not wheels:
            raise BootstrapError(f"{bundle}: no mnist_gpu-*.whl in the bundle; make it again")
        source = str(wheels[-1])
    say(f"installing {hidden(source)}")
    _pip([*pip, "--no-deps", "--force-reinstall", str(source)])
    facts = json.loads(_output([str(python), "-P", "-c", READ_INSTALLED]))
    constraints = work / "constraints.txt"
    pinned = {name: v for name, v in facts["versions"].items() if PROTECTED.fullmatch(name)}
    constraints.write_text("".join(f"{n}=={v}\n" for n, v in sorted(pinned.items())))
    say("kept as they are: " + (" ".join(f"{n}=={v}" for n, v in sorted(pinned.items())) or "-"))
    needed = requirements(facts, overrides)
    _pip([*pip, "--constraint", str(constraints), *needed])


READ_INSTALLED = """
import importlib.metadata as metadata, json, pathlib, re
found = {re.sub('[-_.]+', '-', d.name).lower(): d.version
         for d in metadata.distributions() if d.name}
import mnist_gpu
conf = pathlib.Path(mnist_gpu.__file__).parent / 'conf' / 'platform'
rule = re.compile(r'override /engine(?:@\\S+)?: *(\\w+)')
engines = {p.stem: m[1] for p in conf.glob('*.yaml') if (m := rule.search(p.read_text()))}
print(json.dumps({'versions': found, 'requires': metadata.requires('mnist-gpu') or [],
                  'engines': engines}))
"""


def requirements(facts: dict, overrides: list[str]) -> list[str]:
    """The requirement lines pip is asked for: an engine that is not torch needs no torch.

    Args:
        facts: `requires` and `versions` (installed metadata), `engines` (platform -> its engine).
        overrides: of the run; they name platform and engine.
    """
    given = dict(entry.split("=", 1) for entry in overrides if "=" in entry)
    engine = given.get("engine") or facts["engines"].get(given.get("platform", ""), "lightning")
    lines = []
    for line in facts["requires"]:
        name = re.split(r"[\s;<>=!~\[(]", line, maxsplit=1)[0].lower()
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        if extra and extra[1] != engine:
            continue
        if not extra and engine not in TORCH_ENGINES and name in TORCH_STACK:
            continue
        if name == "tensorflow" and "tensorflow-cpu" in facts["versions"]:
            continue  # the same framework under its other name
        plain = re.sub(r"\(?\s*(and\s+)?extra\s*==\s*['\"][\w-]+['\"]\s*\)?", "", line)
        lines.append(plain.strip().removesuffix(";").strip())
    return lines


def unpack(bundle: str, work: Path) -> Path:
    """The folder of a bundle: it, what its zip holds, or the one somewhere below it."""
    root = Path(bundle)
    if root.is_file():
        with zipfile.ZipFile(root) as archive:
            archive.extractall(work / "bundle")
        root = work / "bundle"
    # a data set is mounted at a depth that the platform decides
    wheels = sorted(root.rglob("mnist_gpu-*.whl")) if root.is_dir() else []
    if not wheels:
        raise BootstrapError(f"{bundle}: no bundle there (no mnist_gpu-*.whl in it or below it)")
    return wheels[-1].parent


def _mnist(bundle: Path | None, work: Path, python: Path, environment: dict) -> Path | None:
    """Where MNIST is, if the project cannot be left to find it by itself."""
    if bundle:
        for found in sorted(bundle.rglob("train-images-idx3-ubyte*")):
            return found.parent if found.is_file() else found.parent.parent
    looks = "import importlib.util as u; print(bool(u.find_spec('torchvision')))"
    if (
        "MNIST_GPU_DATA" in environment
        or _output([str(python), "-P", "-c", looks]).strip() == "True"
    ):
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


def collect(folder: Path, into: Path, last: str) -> dict:
    """Copy the record out of the run's folder; say how the run ended, else `last`."""
    path = folder / "record.json"
    if not path.is_file():
        return {"status": "failed", "reason": f"the run left no record: {last[:200]}"}
    record = json.loads(path.read_text(encoding="utf-8"))
    shutil.copyfile(path, into / "record.json")
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
    """`text` without the user and password of a URL."""
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1***@", str(text))


def say(line: str) -> None:
    print(f"[bootstrap] {line}", flush=True)


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BootstrapError(
            (done.stderr.strip().splitlines() or ["the environment is broken"])[-1]
        )
    return done.stdout


def _pip(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        faults = re.findall(r"^ERROR: (.*)$", done.stderr, re.M) or ["pip failed"]
        raise BootstrapError(
            f"could not install: {hidden(faults[0])}. A framework of this platform may be too old,"
            " or there is no internet here (then give --bundle)"
        )


if __name__ == "__main__":
    sys.exit(main())
