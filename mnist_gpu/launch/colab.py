"""Run the benchmark on a Colab runtime with Google's own client: start, run, read, stop.

Credentials are the client's (its first use asks in the browser); this launcher never reads them. A
runtime uses up compute units, or a free account's quota, until it is stopped: `colab run` stops
its own. The free tier's terms want runs from the notebook, notebooks/colab.ipynb.
"""

import codecs
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import BinaryIO, TextIO

from mnist_gpu.errors import UserError
from mnist_gpu.launch import entry, marked, payload
from mnist_gpu.runs.process import GRACEFUL, handled

# kept back from the run, so that it leaves a record before the client gives up
CLOSING_S = 120
WAITING = "waiting for the client to stop the runtime"
LEFT_BEHIND = "a runtime may still be going: `colab sessions` lists it, `colab stop` ends it"
# with how many seconds each is given
ENDING = ((signal.SIGINT, 60), (signal.SIGTERM, 10), (signal.SIGKILL, 10))
# the client's words, google-colab-cli 0.7.5
MEANINGS = {
    r"precondition failed|capacity|rejected accelerator|quota (exceeded|or)|unavailable"
    r"|no backend|too many (sessions|active)|\b412\b": (
        "Colab has no such runtime to give now (a quota, or none is free): try later, end others"
        " with `colab stop`, or --accelerator cpu"
    ),
    entry.NO_NETWORK: "cannot reach Colab: is there a network?",
    r"\b40[13]\b|credential|authenti|authoriz|sign in|log ?in": (
        "no valid credentials: `colab --help` names the ways to sign in (--auth)"
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Command line of `scripts/colab/launch.py`."""
    chosen = entry.parse(entry.options(__doc__, "colab", 4 * 3600, by_client=True), argv)
    if chosen.bundle:
        raise UserError("--bundle: `colab run` sends one file; give --source URL", exit_code=2)
    if chosen.timeout <= CLOSING_S:
        raise UserError(f"--timeout {chosen.timeout}: more than {CLOSING_S} s", exit_code=2)
    # the client's own default is 30 s of wall clock
    command = [*chosen.client, "run", "--timeout", str(chosen.timeout)]
    if chosen.accelerator != "cpu":
        command += ["--gpu", chosen.accelerator.upper()]
    if chosen.dry_run:
        return entry.show(
            shlex.join([*command, "bootstrap.py"]),
            entry.run_there(chosen),
            "the client stops the runtime",
            f"write the record below {chosen.out}/",
        )
    settings = payload.settings(chosen, chosen.timeout - CLOSING_S)
    with tempfile.TemporaryDirectory() as temporary:
        script = Path(temporary) / "bootstrap.py"
        script.write_text(payload.bootstrap(settings), encoding="utf-8")
        log = _relay([*command, str(script)], chosen.timeout)
    return marked.keep(marked.find_results(log, chosen.tag), "colab", chosen.out)


def _relay(command: list[str], timeout_s: int) -> str:
    """Run the client, show what it prints, return what the script printed."""
    try:
        client = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # a Ctrl-C reaches it once, from here
        )
    except FileNotFoundError:
        raise UserError(
            f"{command[0]} is missing: scripts/colab/launch.py brings it, on Python 3.12 or newer"
        ) from None
    chatter: list[str] = []
    log: list[str] = []
    streams = ((client.stdout, sys.stdout, log), (client.stderr, sys.stderr, chatter))
    # a thread each: whichever pipe filled up unread would stop the client
    readers = [threading.Thread(target=_copy, args=each, daemon=True) for each in streams]
    for reader in readers:
        reader.start()
    try:
        with handled(GRACEFUL, signal.default_int_handler):
            client.wait(timeout_s + CLOSING_S)
    except subprocess.TimeoutExpired:
        raise UserError(f"timeout: more than {timeout_s} s (--timeout)") from None
    finally:
        _end(client)
    for reader in readers:
        reader.join(10)
    text = "".join(log)
    # a client that failed after the run has brought its result
    if client.returncode and marked.MARK not in text:
        raise UserError(entry.explain("colab run", "".join(chatter) or text, MEANINGS))
    return text


def _end(client: subprocess.Popen) -> None:
    """Let the client stop its runtime: it does so on Ctrl-C, and on no other signal."""
    with handled(GRACEFUL, signal.SIG_IGN):
        for number, patience_s in ENDING:
            if client.poll() is not None:
                return
            waits = number == signal.SIGINT
            print(WAITING if waits else LEFT_BEHIND, file=sys.stderr, flush=True)
            client.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                client.wait(patience_s)


def _copy(source: BinaryIO, screen: TextIO, kept: list[str]) -> None:
    """Show what comes as it comes, a prompt without a line end too, but no result line."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    line, shown = "", 0
    while data := os.read(source.fileno(), 1 << 16):
        text = decode(data)
        kept.append(text)
        for piece in text.splitlines(keepends=True):
            line += piece
            # a record is a long line, and for programs
            begins = line.lstrip()[: len(marked.MARK)]
            # what may still become the mark is held back until it has or has not
            hold = not line.endswith("\n") and begins and marked.MARK.startswith(begins)
            hide = hold or begins == marked.MARK
            visible = "" if hide else entry.without_secrets(line, queries=False)
            print(visible[shown:], end="", file=screen, flush=True)
            line, shown = ("", 0) if line.endswith("\n") else (line, len(visible))
