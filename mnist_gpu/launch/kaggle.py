"""Run the benchmark as a Kaggle kernel with Kaggle's own client: build, push, follow, fetch.

Credentials are the client's: `kaggle auth login`, or KAGGLE_API_TOKEN in the environment, or
~/.kaggle. This launcher never reads them. Kaggle charges nothing, and counts GPU hours a week.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import tempfile
import time
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mnist_gpu.errors import UserError
from mnist_gpu.launch import entry, marked, payload
from mnist_gpu.paths import shipped

# `machine_shape` of Kaggle's kernel metadata; a retired one is silently replaced by the server
SHAPES = {"cpu": None, "t4": "NvidiaTeslaT4"}
DATASET = "mnist-gpu-bundle"
# from the push to the session's start there may be a queue
QUEUE_S = 1800
POLL_S = 20
# for Kaggle to take in a data set
READY_S = 900
# how often the session's status is asked for, in a row, before that is an error
TRIES = 5
# the session is ended from inside a little before Kaggle would, so that a record is left
CLOSING_S = 300
RUNNING = ("QUEUED", "RUNNING", "NEW_SCRIPT", "CANCEL_REQUESTED")
# the client prints these and exits with 0, or goes on
REFUSALS = re.compile(
    r"^(?:Kernel push error|Dataset (?:version )?creation error|Upload unsuccessful"
    r"|The following are not valid).*",
    re.M,
)


def main(argv: list[str] | None = None) -> int:
    """Command line of `scripts/kaggle/launch.py`."""
    chosen = _choose(argv)
    slug = "mnist-gpu-bench" + ("" if chosen.accelerator == "cpu" else f"-{chosen.accelerator}")
    kernel = f"{chosen.user}/{slug}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "kernel")
        build(folder, kernel, chosen)
        if chosen.dry_run:
            return _show(folder, kernel, chosen)
        if not chosen.fetch:
            if chosen.bundle:
                _upload(chosen)
            arguments = ("kernels", "push", "-p", str(folder), "-t", str(chosen.timeout))
            print(_call(chosen.client, *arguments), flush=True)
        results = _follow(kernel, chosen, Path(temporary) / "output")
    return marked.keep(results, "kaggle", chosen.out)


def _choose(argv: list[str] | None) -> argparse.Namespace:
    parser = _parser()
    if parser.parse_args(argv).fetch:
        parser.set_defaults(source="installed")  # nothing is sent
    chosen = entry.parse(parser, argv)
    # a T4 session has two GPUs; a Trainer left alone would take both in a script
    if not any(override.startswith("devices=") for override in chosen.overrides):
        chosen.overrides.append("devices=1")
    whose = "whose kernel? give --user NAME, or set KAGGLE_USERNAME"
    chosen.user = entry.needed(chosen.user, whose, "NAME", chosen.dry_run)
    if not re.fullmatch(r"[\w-]+", chosen.user):
        raise UserError(whose, exit_code=2)
    longest_s = shipped("platform/kaggle")["limits"]["session_s"]
    if chosen.timeout > longest_s:
        raise UserError(f"--timeout {chosen.timeout}: Kaggle ends a session after {longest_s} s")
    return chosen


def build(folder: Path, kernel: str, chosen: argparse.Namespace) -> None:
    """Write the kernel's folder: its metadata, and the one file that Kaggle uploads.

    Source of the fields: https://github.com/Kaggle/kaggle-cli, docs/kernels_metadata.md
    """
    folder.mkdir()
    seconds = max(60, chosen.timeout - CLOSING_S)
    settings = payload.settings(chosen, seconds, bundle_at="/kaggle/input")
    (folder / "bootstrap.py").write_text(payload.bootstrap(settings), encoding="utf-8")
    shape = SHAPES[chosen.accelerator]
    metadata: dict[str, Any] = {
        "id": kernel,
        "title": kernel.split("/")[1],
        "code_file": "bootstrap.py",
        "language": "python",
        "kernel_type": "script",
        "is_private": True,
        "enable_gpu": shape is not None,
        "enable_internet": chosen.bundle is None,
        "dataset_sources": [f"{chosen.user}/{DATASET}"] if chosen.bundle else [],
    }
    if shape:
        metadata["machine_shape"] = shape
    text = json.dumps(metadata, indent=2) + "\n"
    (folder / "kernel-metadata.json").write_text(text, encoding="utf-8")


def _upload(chosen: argparse.Namespace) -> None:
    """What the bundle holds becomes a private data set, or its next version; waits for it."""
    dataset = f"{chosen.user}/{DATASET}"
    metadata = {"title": DATASET, "id": dataset, "licenses": [{"name": "other"}]}
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(chosen.bundle) as archive:
            archive.extractall(folder)
        Path(folder, "dataset-metadata.json").write_text(json.dumps(metadata), "utf-8")
        try:
            _call(chosen.client, "datasets", "status", dataset)
            how = ["version", "-m", "next version"]
        except UserError:
            how = ["create"]
        print(_call(chosen.client, "datasets", *how, "-p", folder), flush=True)
    deadline = entry.Deadline(READY_S)
    while _call(chosen.client, "datasets", "status", dataset).splitlines()[-1:] != ["ready"]:
        deadline.pause(chosen.poll, "Kaggle taking in the data set")


def _follow(kernel: str, chosen: argparse.Namespace, out: Path) -> dict[str, marked.Result]:
    """Wait for the session's end; its results by engine."""
    began = datetime.now(UTC)
    deadline = entry.Deadline(chosen.timeout + chosen.queue, option="--timeout, --queue")
    last = ""
    try:
        # one that nobody knows yet counts as an end: its log is shown
        while (status := _status(chosen.client, kernel)) in RUNNING:
            if status != last:
                print(f"kaggle: {status.lower()}  https://www.kaggle.com/code/{kernel}", flush=True)
            last = status
            deadline.pause(chosen.poll, "the kernel")
    except KeyboardInterrupt:
        print(f"the kernel goes on: https://www.kaggle.com/code/{kernel}; fetch it with --fetch")
        raise
    log = _output(chosen.client, kernel, out)
    if status != "COMPLETE":
        print(log)
    found = {} if chosen.fetch else marked.find_results(log, chosen.tag)
    texts = {path.stem: path.read_bytes() for path in sorted(out.glob("record*.json"))}
    # not what an older session left; the two clocks may differ
    since = None if chosen.fetch else began - timedelta(minutes=5)
    return found or marked.of_files(texts, since)


def _status(client: list[str], kernel: str) -> str:
    """QUEUED, RUNNING, COMPLETE, ERROR ...; a question that fails is asked again."""
    for attempt in range(1, TRIES + 1):
        try:
            text = _call(client, "kernels", "status", kernel)
            break
        except UserError:
            if attempt == TRIES:
                raise
            time.sleep(attempt)
    found = re.search(r'has status "(?:KernelWorkerStatus\.)?(\w+)"', text)
    if not found:
        raise UserError(f"kaggle kernels status: not understood: {text[:200]}")
    return found[1].upper()


def _output(client: list[str], kernel: str, folder: Path) -> str:
    """Download the records and the log; returns the log as plain text."""
    pattern = r"^record(-\w+)?\.json$"
    _call(client, "kernels", "output", kernel, "-p", str(folder), "-o", "--file-pattern", pattern)
    path = folder / f"{kernel.split('/')[1]}.log"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    try:
        events = json.loads(text)
    except ValueError:
        return text
    return "".join(str(item.get("data", "")) for item in events if isinstance(item, dict))


def _call(client: list[str], *arguments: str) -> str:
    """The output of one of the client's commands; UserError where it failed or was refused."""
    name, login = " ".join(("kaggle", *arguments[:2])), f"`{shlex.join(client)} auth login`"
    meanings = {
        entry.NO_NETWORK: "cannot reach Kaggle: is there a network?",
        "auth login|authenticat|401": f"no valid credentials: {login}, or set KAGGLE_API_TOKEN"
        " (https://www.kaggle.com/settings)",
    }
    try:
        done = subprocess.run([*client, *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        missing = f"{client[0]} is missing: scripts/kaggle/launch.py brings it"
        raise UserError(missing) from None
    said = f"{done.stdout}\n{done.stderr}"
    if refused := REFUSALS.search(said):
        raise UserError(entry.without_secrets(f"{name}: {refused[0]}"))
    if done.returncode:
        raise UserError(entry.explain(name, said, meanings))
    return done.stdout.strip()


def _show(folder: Path, kernel: str, chosen: argparse.Namespace) -> int:
    metadata = (folder / "kernel-metadata.json").read_text(encoding="utf-8")
    command = shlex.join(chosen.client)
    upload = f"{command} datasets create/version: {chosen.bundle} as {DATASET}"
    return entry.show(
        *([upload] if chosen.bundle else []),
        f"{command} kernels push -p FOLDER -t {chosen.timeout}",
        entry.run_there(chosen),
        f"{command} kernels status {kernel}   (every {chosen.poll} s)",
        f"{command} kernels output {kernel}",
        f"write the record below {chosen.out}/",
        before=f"kernel-metadata.json:\n{metadata}",
    )


def _parser() -> argparse.ArgumentParser:
    parser = entry.options(__doc__, "kaggle", 6 * 3600, by_client=True)
    add = parser.add_argument
    add("--user", default=os.environ.get("KAGGLE_USERNAME", ""), help="your Kaggle user name")
    add("--fetch", action="store_true", help="push nothing; fetch the latest session's record")
    add("--poll", type=float, default=POLL_S, help=f"seconds between questions ({POLL_S})")
    add("--queue", type=int, default=QUEUE_S, help=f"seconds for the session to start ({QUEUE_S})")
    return parser
