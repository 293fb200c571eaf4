"""Run the benchmark on a Colab runtime with Google's own client: start, run, read, stop.

Credentials are the client's (its first use asks in the browser); this launcher never reads them. A
runtime uses up compute units, or a free account's quota, until it is stopped: `colab run` stops
its own. The free tier's terms want runs from the notebook, notebooks/colab.ipynb.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from mnist_gpu.errors import UserError
from mnist_gpu.launch import entry, marked, payload

REQUIREMENT = "google-colab-cli>=0.7.5,<1"
PLATFORMS = {"cpu": "colab", "t4": "colab_t4"}
# kept back from the run, so that it leaves a record before the client gives up
CLOSING_S = 120
LEFT_BEHIND = "a runtime may still be going: `colab sessions` lists it, `colab stop` ends it"


def main(argv: list[str] | None = None) -> int:
    """Command line of `scripts/colab/launch.py`."""
    parser = _parser()
    parser.set_defaults(platform=PLATFORMS[parser.parse_args(argv).accelerator])
    chosen = entry.parse(parser, argv)
    if chosen.bundle:
        raise UserError("--bundle: `colab run` sends one file; give --source URL", exit_code=2)
    if chosen.timeout <= CLOSING_S:
        raise UserError(f"--timeout {chosen.timeout}: more than {CLOSING_S} s", exit_code=2)
    tag = payload.new_tag()
    with tempfile.TemporaryDirectory() as temporary:
        script = Path(temporary) / "bootstrap.py"
        settings = {
            "tag": tag,
            "source": chosen.source,
            "overrides": chosen.overrides,
            "timeout": chosen.timeout - CLOSING_S,
        }
        script.write_text(payload.bootstrap(settings), encoding="utf-8")
        command = _command(chosen, script)
        if chosen.dry_run:
            print(entry.without_secrets(_plan(command, chosen)))
            return 0
        result = marked.find_result(_relay(command, chosen.timeout), tag)
    print(f"record: {marked.save(result, 'colab', chosen.out)}")
    return 0 if result and result.status == "completed" else 1


def _command(chosen: argparse.Namespace, script: Path) -> list[str]:
    # the client's own default is 30 s of wall clock
    command = [*chosen.client, "run", "--timeout", str(chosen.timeout)]
    if chosen.accelerator != "cpu":
        command += ["--gpu", chosen.accelerator.upper()]
    return [*command, str(script)]


def _plan(command: list[str], chosen: argparse.Namespace) -> str:
    return "\n".join(
        (
            f"1. {' '.join([*command[:-1], 'bootstrap.py'])}",
            f"2. there: install {chosen.source}, then mnist_gpu.train "
            + " ".join(chosen.overrides),
            "3. the client stops the runtime",
            f"4. write the record below {chosen.out}/",
        )
    )


def _relay(command: list[str], timeout_s: int) -> str:
    """Run the client, show what it prints, return what the script printed.

    Raises:
        UserError: the client is missing, failed without a result, or did not end in time.
    """
    try:
        client = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )
    except FileNotFoundError:
        raise UserError(
            f"{command[0]} is missing: pip install '{REQUIREMENT}' (Python 3.12 or newer), or"
            " install uv"
        ) from None
    chatter: list[str] = []
    log: list[str] = []
    readers = [
        threading.Thread(target=_copy, args=(client.stdout, sys.stdout, log), daemon=True),
        threading.Thread(target=_copy, args=(client.stderr, sys.stderr, chatter), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        client.wait(timeout_s + CLOSING_S)
    except subprocess.TimeoutExpired:
        raise UserError(f"timeout: more than {timeout_s} s (--timeout); {LEFT_BEHIND}") from None
    except KeyboardInterrupt:
        print(LEFT_BEHIND, file=sys.stderr)
        raise
    finally:
        # the client's own clean-up stops the runtime; after a time-out it is known to spin
        client.terminate()
        try:
            client.wait(30)
        except subprocess.TimeoutExpired:
            client.kill()
    for reader in readers:
        reader.join(10)
    text = "".join(log)
    if client.returncode and marked.MARK not in text:
        raise UserError(_explain("".join(chatter) or text))
    return text


def _copy(source: object, screen: object, kept: list[str]) -> None:
    for line in source:  # type: ignore[attr-defined]
        kept.append(line)
        if not line.lstrip().startswith(marked.MARK):
            print(entry.without_secrets(line), end="", file=screen, flush=True)  # type: ignore[call-overload]


def _explain(text: str) -> str:
    if re.search(r"ConnectionError|Max retries|NameResolution|ProxyError|timed out", text, re.I):
        return "colab run: cannot reach Colab: is there a network?"
    if re.search(r"401|403|auth|credential|sign in|log ?in", text, re.I):
        return "colab run: no valid credentials: `colab run --help` names the ways to sign in"
    if re.search(r"quota|unavailable|no backend|too many sessions|412", text, re.I):
        return "colab run: Colab has no such runtime to give now: try later, or --accelerator cpu"
    lines = [line for line in text.splitlines() if line.strip()]
    return f"colab run: {entry.without_secrets((lines or ['failed'])[-1])[:300]}"


def _client(text: str) -> list[str]:
    return text.split()


def default_client() -> list[str]:
    """The client that is installed, else the one uv fetches."""
    beside = shutil.which("colab", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("colab")
    return [found] if found else ["uvx", "--quiet", "--from", REQUIREMENT, "colab"]


def _parser() -> argparse.ArgumentParser:
    parser = entry.options(__doc__ or "", "colab", 4 * 3600)
    add = parser.add_argument
    add("--accelerator", choices=PLATFORMS, default="cpu", help="the runtime's (cpu)")
    add("--client", type=_client, default=default_client(), help="command of Colab's client")
    return parser
