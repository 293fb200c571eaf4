#!/usr/bin/env python3
"""Run the benchmark on a platform one does not own, and leave its record where it comes back.

Standard library only, Python 3.11 to 3.13. A Kaggle kernel, `colab run` and cloud-init each take
one text, so launchers and bundles put `bootstrap_install.py` in the place of its import below.
mnist-gpu goes into an environment of its own laid over the platform's (whose torch, TensorFlow and
NumPy are used and never replaced), with what the platform lacks from the project's lock, by its
hashes. Then `python -m mnist_gpu.train OVERRIDES` runs as a subprocess, its output relayed, with
the platform's own engine and with Lightning's, by which machines are compared. Each record is
copied to one place and printed: `MNIST_GPU_RESULT {"status": ..., "sha256": ..., "record": ...}`.
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
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bootstrap_install import (
    TORCH_ENGINES,
    BootstrapError,
    commit_of,
    engine_of,
    fetch,
    fitting_lock,
    hidden,
    install,
    made,
    mnist,
    overlay,
    say,
    unpack,
)

# A launcher whose platform passes no arguments writes its choices here: the options of --help.
SETTINGS: dict = {}

MARK = "MNIST_GPU_RESULT"
GRACE_S = 60
COMMON = "lightning"  # the engine that every platform runs, stock
STOPPED = (130, 143, -signal.SIGINT, -signal.SIGTERM)  # exit codes of a run that somebody ended


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
    if argv is None:  # without what a notebook's kernel was started with: `-f connection.json`
        argv = [] if "-f" in sys.argv[1:2] else sys.argv[1:]
    chosen = options.parse_args(argv)
    chosen.overrides = chosen.overrides or SETTINGS.get("overrides", [])
    if chosen.fitting_lock:
        print(fitting_lock(Path(chosen.fitting_lock)))
        return 0
    kaggle = Path("/kaggle/working")
    into = Path(chosen.into or (kaggle if kaggle.is_dir() else "."))
    temporary, code, result = None, 0, None
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
        for ended, of_run in bench(chosen, Path(work).resolve(), into.resolve()):
            announce({"tag": chosen.tag, **of_run}, chosen.result_to)
            code = code or ended
    except (BootstrapError, OSError) as exc:
        code, result = 1, failure(exc)
    except KeyboardInterrupt:
        code, result = 130, {"status": "interrupted", "reason": "before training began"}
    finally:
        # before the clearing up, which takes its time and may be cut off
        if result:
            announce({"tag": chosen.tag, **result}, chosen.result_to)
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
    return code


def failure(fault: Exception) -> dict:
    """The result of a run that did not begin; the line is for who reads along."""
    print(f"error: {hidden(fault)}", file=sys.stderr, flush=True)
    return {"status": "failed", "reason": hidden(fault)}


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
    project = fetch(chosen.source, bundle, work)
    runs = plan(chosen, project)
    for name, overrides in runs.items():
        path = into / ("record.json" if name == "own" else f"record-{name}.json")
        try:
            python, environment = prepare(chosen, overrides, work, project, bundle, data)
            left_s = ends and ends - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise BootstrapError(f"no time is left of {chosen.timeout:g} s (--timeout)")
            code, result = train(python, environment, overrides, path, left_s)
        except (BootstrapError, OSError) as exc:
            hint = "" if name == "own" else f"engine={name}: "
            code, result = 1, failure(BootstrapError(f"{hint}{exc}"))
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
    if data := data or mnist(work, python, environment):
        environment["MNIST_GPU_DATA"] = str(data)
    if commit := commit_of(chosen.source, bundle):
        environment.setdefault("MNIST_GPU_COMMIT", commit)
    return python, environment


def train(
    python: Path, environment: dict, overrides: list[str], path: Path, timeout: float | None
) -> tuple[int, dict]:
    """One run, whose record is copied to `path`: its exit code and result."""
    into = path.parent
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=made(into / "outputs")))
    command = [str(python), "-m", "mnist_gpu.train", *overrides]
    say("running: python -m mnist_gpu.train " + " ".join(overrides))
    command.append(f"hydra.run.dir={folder.relative_to(into)}")
    code, last = relay(command, environment, into, timeout)
    return code, collect(folder, path, last or f"exit code {code}")


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


if __name__ == "__main__":
    sys.exit(main())
