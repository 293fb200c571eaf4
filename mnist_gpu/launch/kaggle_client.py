"""Kaggle's official client as a subprocess, and what its exit code does not tell."""

import json
import re
import shlex
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path

from mnist_gpu.errors import UserError
from mnist_gpu.launch import entry

TRIES = 5
READY_S = 900
# it prints these and exits with 0, or goes on
REFUSALS = re.compile(
    r"^(?:Kernel push error|Dataset (?:version )?creation error|Upload unsuccessful"
    r"|The following are not valid).*",
    re.M,
)


class Client:
    """The client's commands.

    Args:
        command: how to start it.
    """

    def __init__(self, command: list[str]) -> None:
        self._command = command
        login = f"`{shlex.join(command)} auth login`"
        self._meanings = {
            entry.NO_NETWORK: "cannot reach Kaggle: is there a network?",
            "auth login|authenticat|401": (
                f"no valid credentials: {login}, or set KAGGLE_API_TOKEN"
                " (https://www.kaggle.com/settings)"
            ),
        }

    def push(self, folder: Path, timeout_s: int) -> None:
        """Push a kernel's folder; it starts at once."""
        print(self._run("kernels", "push", "-p", str(folder), "-t", str(timeout_s)), flush=True)

    def status(self, kernel: str) -> str:
        """QUEUED, RUNNING, COMPLETE, ERROR ...; a question that fails is asked again.

        Raises:
            UserError: it failed five times in a row.
        """
        for attempt in range(1, TRIES + 1):
            try:
                text = self._run("kernels", "status", kernel)
                break
            except UserError:
                if attempt == TRIES:
                    raise
                time.sleep(attempt)
        found = re.search(r'has status "(?:KernelWorkerStatus\.)?(\w+)"', text)
        if not found:
            raise UserError(f"kaggle kernels status: not understood: {text[:200]}")
        return found[1].upper()

    def output(self, kernel: str, folder: Path) -> str:
        """Download the records and the log; returns the log as plain text."""
        pattern = r"^record(-\w+)?\.json$"
        self._run("kernels", "output", kernel, "-p", str(folder), "-o", "--file-pattern", pattern)
        path = folder / f"{kernel.split('/')[1]}.log"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        try:
            events = json.loads(text)
        except ValueError:
            return text
        return "".join(str(item.get("data", "")) for item in events if isinstance(item, dict))

    def upload_dataset(self, bundle: Path, dataset: str, poll_s: float) -> None:
        """Upload what a bundle holds as a private data set, or as its next version; wait for it."""
        title = dataset.split("/")[1]
        metadata = {"title": title, "id": dataset, "licenses": [{"name": "other"}]}
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(bundle) as archive:
                archive.extractall(folder)
            Path(folder, "dataset-metadata.json").write_text(json.dumps(metadata), "utf-8")
            try:
                self._run("datasets", "status", dataset)
                how = ["version", "-m", "next version"]
            except UserError:
                how = ["create"]
            print(self._run("datasets", *how, "-p", folder), flush=True)
        deadline = entry.Deadline(READY_S)
        while self._run("datasets", "status", dataset).splitlines()[-1] != "ready":
            deadline.pause(poll_s, "Kaggle taking in the data set")

    def _run(self, *arguments: str) -> str:
        """One command's output.

        Raises:
            UserError: it is not installed, failed, or said that it was refused.
        """
        command, name = [*self._command, *arguments], " ".join(("kaggle", *arguments[:2]))
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            missing = f"{command[0]} is missing: scripts/kaggle/launch.py brings it"
            raise UserError(missing) from None
        said = f"{done.stdout}\n{done.stderr}"
        if refused := REFUSALS.search(said):
            raise UserError(entry.without_secrets(f"{name}: {refused[0]}"))
        if done.returncode:
            raise UserError(entry.explain(name, said, self._meanings))
        return done.stdout.strip()
