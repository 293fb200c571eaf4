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
from mnist_gpu.launch.kaggle_client import Client

# `machine_shape` of Kaggle's kernel metadata; a retired one is silently replaced by the server
SHAPES = {"cpu": None, "t4": "NvidiaTeslaT4"}
DATASET = "mnist-gpu-bundle"
SESSION_LIMIT_S = 12 * 3600
# from the push to the session's start there may be a queue
QUEUE_S = 1800
POLL_S = 20
# the session is ended from inside a little before Kaggle would, so that a record is left
CLOSING_S = 300
RUNNING = ("QUEUED", "RUNNING", "NEW_SCRIPT", "CANCEL_REQUESTED")


def main(argv: list[str] | None = None) -> int:
    """Command line of `scripts/kaggle/launch.py`."""
    chosen = _choose(argv)
    slug = "mnist-gpu-bench" + ("" if chosen.accelerator == "cpu" else f"-{chosen.accelerator}")
    kernel, tag = f"{chosen.user}/{slug}", payload.new_tag()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary) / "kernel"
        build(folder, kernel, chosen, tag)
        if chosen.dry_run:
            return _show(folder, kernel, chosen)
        client = Client(chosen.client)
        if not chosen.fetch:
            if chosen.bundle:
                client.upload_dataset(chosen.bundle, f"{chosen.user}/{DATASET}", chosen.poll)
            client.push(folder, chosen.timeout)
        results = _follow(client, kernel, None if chosen.fetch else tag, chosen, Path(temporary))
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
    if chosen.dry_run and not chosen.user:
        chosen.user = entry.placeholder(whose, "NAME")
    if not re.fullmatch(r"[\w-]+", chosen.user or ""):
        raise UserError(whose, exit_code=2)
    if chosen.timeout > SESSION_LIMIT_S:
        raise UserError(f"--timeout {chosen.timeout}: Kaggle ends a session after 12 h")
    return chosen


def build(folder: Path, kernel: str, chosen: argparse.Namespace, tag: str) -> None:
    """Write the kernel's folder: its metadata, and the one file that Kaggle uploads.

    Source of the fields: https://github.com/Kaggle/kaggle-cli, docs/kernels_metadata.md
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UserError(f"--folder {folder}: holds something already; name a new one")
    seconds = max(60, chosen.timeout - CLOSING_S)
    settings = payload.settings(chosen, tag, seconds, bundle_at="/kaggle/input")
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
    texts = {path.stem: path.read_bytes() for path in sorted(out.glob("record*.json"))}
    # not what an older session left; the two clocks may differ
    return found or marked.of_files(texts, began - timedelta(minutes=5) if tag else None)


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
    add("--folder", type=Path, help="keep the kernel's folder here")
    add("--fetch", action="store_true", help="push nothing; fetch the latest session's record")
    add("--poll", type=float, default=POLL_S, help=f"seconds between questions ({POLL_S})")
    add("--queue", type=int, default=QUEUE_S, help=f"seconds for the session to start ({QUEUE_S})")
    add("--verbose", action="store_true", help="print the session's log")
    return parser
