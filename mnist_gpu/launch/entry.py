"""What every launcher's command line has in common: options, secrets, time, and how it ends."""

import argparse
import os
import re
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from mnist_gpu.errors import UserError
from mnist_gpu.files import trouble
from mnist_gpu.launch import payload

ENGINES = "own,lightning"
# as the vendors' clients, which are written in Python, say that nothing answers
NO_NETWORK = (
    r"ConnectionError|Max retries|NameResolution|ProxyError|timed out|(Connect|Read)Timeout"
)


def options(
    description: str | None, platform: str, timeout_s: int, by_client: bool = False
) -> argparse.ArgumentParser:
    """A parser with the options that every launcher takes.

    Args:
        description: the launcher's module docstring.
        platform: `platform=` of the run unless the overrides name another.
        timeout_s: default of `--timeout`, seconds.
        by_client: reached by its vendor's client, with a T4 to choose: `<platform>_t4`.
    """
    parser = argparse.ArgumentParser(
        prog=f"scripts/{platform}/launch.py", description=description, allow_abbrev=False
    )
    add = parser.add_argument
    add("overrides", nargs="*", help=f"as for mnist_gpu.train (platform={platform} is implied)")
    add("--source", help="what to run: archive URL, git+URL@commit; or `installed`")
    add("--bundle", type=Path, help="zip made by scripts/make_bundle.py: needs no internet there")
    add("--engines", metavar="LIST", help=f"one after the other: own is the platform's; the common"
        f" engine goes first ({ENGINES}; own where the overrides name one)")  # fmt: skip
    add("--out", type=Path, default=Path("outputs"), help="where the record goes (outputs/)")
    add("--timeout", type=int, default=timeout_s, help=f"seconds for all of it ({timeout_s})")
    add("--dry-run", action="store_true", help="show every step and change nothing")
    if by_client:
        add("--accelerator", choices=("cpu", "t4"), default="cpu", help="the session's (cpu)")
        # that of this environment, else that of PATH
        beside = shutil.which(platform, path=str(Path(sys.executable).parent))
        command = [beside or shutil.which(platform) or platform]
        add("--client", type=shlex.split, default=command, help="command of the vendor's client")
    parser.set_defaults(platform=platform)
    return parser


def parse(parser: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    """Parse, and complete what was left out: `platform=`, the engines and the source; `tag` marks
    this launch.

    Raises:
        UserError: a file is missing or a value cannot be used.
    """
    chosen = parser.parse_args(argv)
    for override in chosen.overrides:
        if not re.match(r"^[+~]{0,2}[A-Za-z_][\w./@-]*(=.*)?$", override):
            raise UserError(f"{override!r}: overrides look like epochs=3", exit_code=2)
    if not any(override.startswith("platform=") for override in chosen.overrides):
        suffix = "_t4" if getattr(chosen, "accelerator", "") == "t4" else ""
        chosen.overrides = [f"platform={chosen.platform}{suffix}", *chosen.overrides]
    # whoever names an engine wants that one, and no common one before it
    named = any(override.startswith("engine=") for override in chosen.overrides)
    chosen.engines = chosen.engines or ("own" if named else ENGINES)
    if not re.fullmatch(r"\w+(,\w+)*", chosen.engines):
        raise UserError(f"--engines {chosen.engines}: names such as {ENGINES}", exit_code=2)
    if chosen.timeout <= 0:
        raise UserError(f"--timeout {chosen.timeout}: a number of seconds above 0", exit_code=2)
    if chosen.bundle and not chosen.bundle.is_file():
        raise UserError(f"--bundle {chosen.bundle}: no such file; scripts/make_bundle.py makes one")
    # user:password@host
    if re.search(r"://[^/@\s]+@", chosen.source or ""):
        raise UserError("--source: a password in a URL would be sent and logged")
    if not (chosen.source or chosen.bundle):
        chosen.source = needed(
            payload.default_source(), payload.WHICH_SOURCE, payload.EXAMPLE, chosen.dry_run, 1
        )
    check_folder(chosen.out)
    # tells this launch's lines, folders and servers from any other's
    chosen.tag = secrets.token_hex(6)
    return chosen


def needed(value: str, missing: str, stands_in: str, dry_run: bool, exit_code: int = 2) -> str:
    """What a real launch cannot do without; a dry run goes on with `stands_in`, and says so."""
    if value:
        return value
    if not dry_run:
        raise UserError(missing, exit_code)
    print(f"dry run with {stands_in}: {without_secrets(missing)}", file=sys.stderr)
    return stands_in


def show(*steps: str, before: str = "", after: str = "") -> int:
    """Print a dry run's steps with their numbers, without secrets; its exit code, 0."""
    numbered = "".join(f"{number}. {step}\n" for number, step in enumerate(steps, start=1))
    print(without_secrets(f"{before}{numbered}{after}").rstrip("\n"))
    return 0


def run_there(chosen: argparse.Namespace) -> str:
    """What a dry run says of the run itself."""
    where = chosen.bundle or chosen.source
    overrides = " ".join(chosen.overrides)
    return f"there: install {where}, mnist_gpu.train {overrides} (engines: {chosen.engines})"


def check_folder(out: Path) -> None:
    """Refuse a folder that cannot be written to, before a record is lost with its machine."""
    # it need not be there yet: what is there of the way to it decides
    there = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise UserError(f"--out {out}: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"--out {out}: {there}: choose a folder you may write to")


def run(main: Callable[[], int]) -> None:
    """Call `main` and exit; what the user can mend is one line on stderr, without a traceback."""
    try:
        sys.exit(main())
    except BrokenPipeError:  # whoever read it has left: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (UserError, OSError) as exc:
        text = trouble(exc) if isinstance(exc, OSError) else str(exc)
        print(f"error: {without_secrets(text)}", file=sys.stderr)
        sys.exit(getattr(exc, "exit_code", 1))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def without_secrets(text: str, queries: bool = True) -> str:
    """`text` with the value of every credential of this environment and of URLs blotted out.

    A URL's user and password count as such, and unless `queries` is false what its query holds
    (`?private_token=`).
    """
    for name, value in os.environ.items():
        # a value as short as `1` would blot out half the text
        if re.search(r"TOKEN|SECRET|PASSWORD|_KEY$", name) and len(value) >= 6:
            text = text.replace(value, "***")
    text = re.sub(r"(\w+://)[^/@\s]+@", r"\1***@", text)
    return re.sub(r"([?&][^=&#\s]+=)[^&#\s\"']+", r"\1***", text) if queries else text


def explain(command: str, text: str, meanings: Mapping[str, str]) -> str:
    """One line about a client's `command` that failed and printed `text`: what the first pattern
    found in that means, else its last line."""
    for pattern, meaning in meanings.items():
        if re.search(pattern, text, re.I):
            return f"{command}: {meaning}"
    lines = [line for line in text.splitlines() if line.strip()] or ["failed"]
    return f"{command}: {without_secrets(lines[-1])[:300]}"


class Deadline:
    """Time left of a launch, on a monotonic clock.

    Args:
        seconds: from now on.
        option: that sets them, for whoever finds them too few.
    """

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        option: str = "",
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._end = clock() + seconds
        self.seconds = seconds
        self._option = f" ({option})" if option else ""

    def left_s(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._end - self._clock())

    def pause(self, seconds: float, waiting_for: str) -> None:
        """Sleep, at most until the deadline; a UserError once it has passed."""
        if self.left_s() <= 0:
            took = f"{waiting_for} took more than {self.seconds:g} s"
            raise UserError(f"timeout: {took}{self._option}")
        self.sleep(seconds)

    def sleep(self, seconds: float) -> None:
        """Sleep, at most until the deadline."""
        self._sleep(min(seconds, self.left_s()))
