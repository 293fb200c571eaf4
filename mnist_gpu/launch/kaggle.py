"""Run the benchmark as a Kaggle kernel with Kaggle's own client: build, push, follow, fetch.

Credentials are the client's: `kaggle auth login`, or KAGGLE_API_TOKEN in the environment, or
~/.kaggle. This launcher never reads them. Kaggle charges nothing, and counts GPU hours a week.
"""

import argparse
import json
import os
import re
import shlex
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mnist_gpu.errors import UserError
from mnist_gpu.launch import entry, marked, payload
from mnist_gpu.launch.bundle import digest
from mnist_gpu.launch.kaggle_client import Client

# `machine_shape` of Kaggle's kernel metadata; a retired one is silently replaced by the server
SHAPES = {"cpu": None, "t4": "NvidiaTeslaT4"}
PLATFORMS = {"cpu": "kaggle", "t4": "kaggle_t4"}
DATASET = "mnist-gpu-bundle"
SESSION_LIMIT_S = 12 * 3600
# from the push to the session's start there may be a queue
QUEUE_S = 1800
POLL_S = 20
RUNNING = ("QUEUED", "RUNNING", "NEW_SCRIPT", "CANCEL_REQUESTED")


def main(argv: list[str] | None = None) -> int:
    """Command line of `scripts/kaggle/launch.py`."""
    parser = _parser()
    first = parser.parse_args(argv)
    accelerator = first.accelerator
    parser.set_defaults(platform=PLATFORMS[accelerator])
    if first.fetch:
        parser.set_defaults(source="installed")  # nothing is sent
    chosen = entry.parse(parser, argv)
    whose = "whose kernel? give --user NAME, or set KAGGLE_USERNAME"
    if chosen.dry_run and not chosen.user:
        chosen.user = entry.placeholder(whose, "NAME")
    if not re.fullmatch(r"[\w-]+", chosen.user or ""):
        raise UserError(whose, exit_code=2)
    if chosen.timeout > SESSION_LIMIT_S:
        raise UserError(f"--timeout {chosen.timeout}: Kaggle ends a session after 12 h")
    slug = "mnist-gpu-bench" + ("" if accelerator == "cpu" else f"-{accelerator}")
    kernel, tag = f"{chosen.user}/{slug}", payload.new_tag()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary) / "kernel"
        build(folder, kernel, chosen, tag)
        if chosen.dry_run:
            print(entry.without_secrets(_plan(folder, kernel, chosen)))
            return 0
        client = Client(chosen.client)
        if not chosen.fetch:
            if chosen.bundle:
                client.upload_dataset(chosen.bundle, f"{chosen.user}/{DATASET}", chosen.poll)
            client.push(folder, chosen.timeout)
        results = _follow(client, kernel, None if chosen.fetch else tag, chosen, Path(temporary))
    return marked.keep(results, "kaggle", chosen.out)


def build(folder: Path, kernel: str, chosen: argparse.Namespace, tag: str) -> None:
    """Write the kernel's folder: its metadata, and the one file that Kaggle uploads.

    Source of the fields: https://github.com/Kaggle/kaggle-cli, docs/kernels_metadata.md
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UserError(f"--folder {folder}: holds something already; name a new one")
    settings: dict[str, Any] = {"tag": tag, "overrides": _overrides(chosen.overrides)}
    settings["engines"] = chosen.engines
    if chosen.bundle:
        settings |= {"bundle": "/kaggle/input", "manifest": digest(chosen.bundle)}
    else:
        settings["source"] = chosen.source
    # the session is ended from inside a little before Kaggle would, so that a record is left
    settings["timeout"] = max(60, chosen.timeout - 300)
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
        "enable_tpu": False,
        "enable_internet": chosen.bundle is None,
        "dataset_sources": [f"{chosen.user}/{DATASET}"] if chosen.bundle else [],
        "competition_sources": [],
        "kernel_sources": [],
        "model_sources": [],
    }
    if shape:
        metadata["machine_shape"] = shape
    text = json.dumps(metadata, indent=2) + "\n"
    (folder / "kernel-metadata.json").write_text(text, encoding="utf-8")


def _overrides(given: list[str]) -> list[str]:
    """A T4 session has two GPUs; a Trainer left alone would take both in a script."""
    return given if any(item.startswith("devices=") for item in given) else [*given, "devices=1"]


def _follow(
    client: Client, kernel: str, tag: str | None, chosen: argparse.Namespace, scratch: Path
) -> dict[str, marked.Result]:
    """Wait for the session's end; its results by engine.

    Raises:
        UserError: the session failed, or did not end in time.
    """
    began = datetime.now(UTC)
    deadline = entry.Deadline(chosen.timeout + chosen.queue)
    last = ""
    try:
        while (status := client.status(kernel)) in RUNNING:
            if status != last:
                print(f"kaggle: {status.lower()}  https://www.kaggle.com/code/{kernel}", flush=True)
            last = status
            deadline.pause(chosen.poll, "the kernel")
    except KeyboardInterrupt:
        print(f"the kernel goes on: https://www.kaggle.com/code/{kernel}; fetch it with --fetch")
        raise
    out = scratch / "output"
    log = client.output(kernel, out)
    if chosen.verbose or status != "COMPLETE":
        print(log)
    found = marked.find_results(log, tag) if tag else {}
    return found or _from_files(out, began if tag else None)


def _from_files(folder: Path, began: datetime | None) -> dict[str, marked.Result]:
    """The records among the kernel's files, but for what an older session left."""
    found = {}
    for path in sorted(folder.glob("record*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            made = datetime.fromisoformat(record["created_at"])
        except (OSError, ValueError, KeyError):
            continue
        if not began or made >= began - timedelta(minutes=5):
            engine = path.stem.removeprefix("record").removeprefix("-") or marked.OWN
            found[engine] = marked.of_file(record, engine)
    return found


def _plan(folder: Path, kernel: str, chosen: argparse.Namespace) -> str:
    metadata = (folder / "kernel-metadata.json").read_text(encoding="utf-8")
    command = shlex.join(chosen.client)
    steps = [f"{command} kernels push -p FOLDER -t {chosen.timeout}"]
    if chosen.bundle:
        steps.insert(0, f"{command} datasets create/version: {chosen.bundle} as {DATASET}")
    steps += [f"{command} kernels status {kernel}   (every {chosen.poll} s)"]
    steps += [f"{command} kernels output {kernel}", f"write the record below {chosen.out}/"]
    numbered = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, start=1))
    run = f"{' '.join(_overrides(chosen.overrides))} (engines: {chosen.engines})"
    run = f"run: python -m mnist_gpu.train {run}, of {chosen.bundle or chosen.source}"
    return f"kernel-metadata.json:\n{metadata}{run}\n{numbered}"


def _parser() -> argparse.ArgumentParser:
    parser = entry.options(__doc__ or "", "kaggle", 6 * 3600)
    add = parser.add_argument
    add("--user", default=os.environ.get("KAGGLE_USERNAME", ""), help="your Kaggle user name")
    add("--accelerator", choices=sorted(SHAPES), default="cpu", help="the session's (cpu)")
    add(
        "--client",
        type=shlex.split,
        default=entry.client("kaggle"),
        help="command of Kaggle's client",
    )
    add("--folder", type=Path, help="keep the kernel's folder here")
    add("--fetch", action="store_true", help="push nothing; fetch the latest session's record")
    add("--poll", type=float, default=POLL_S, help=f"seconds between questions ({POLL_S})")
    add("--queue", type=int, default=QUEUE_S, help=f"seconds for the session to start ({QUEUE_S})")
    add("--verbose", action="store_true", help="print the session's log")
    return parser
