"""What every launcher's command line has in common."""

import argparse
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mnist_gpu.errors import UserError
from mnist_gpu.files import trouble
from mnist_gpu.launch import payload

ENGINES = "own,lightning"


def options(description: str, platform: str, timeout_s: int) -> argparse.ArgumentParser:
    """A parser with the options that every launcher takes.

    Args:
        description: the launcher's module docstring.
        platform: `platform=` of the run unless the overrides name another.
        timeout_s: default of `--timeout`, seconds.
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
    parser.set_defaults(platform=platform)
    return parser


def parse(parser: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    """Parse, and complete what was left out: `platform=`, the engines and the source.

    Raises:
        UserError: a file is missing or a value cannot be used.
    """
    chosen = parser.parse_args(argv)
    for entry in chosen.overrides:
        if not re.match(r"^[+~]{0,2}[A-Za-z_][\w./@-]*(=.*)?$", entry):
            raise UserError(f"{entry!r}: overrides look like epochs=3", exit_code=2)
    if not any(entry.startswith("platform=") for entry in chosen.overrides):
        chosen.overrides = [f"platform={chosen.platform}", *chosen.overrides]
    named = any(entry.startswith("engine=") for entry in chosen.overrides)
    chosen.engines = chosen.engines or ("own" if named else ENGINES)
    if not re.fullmatch(r"\w+(,\w+)*", chosen.engines):
        raise UserError(f"--engines {chosen.engines}: names such as {ENGINES}", exit_code=2)
    if chosen.timeout <= 0:
        raise UserError(f"--timeout {chosen.timeout}: a number of seconds above 0", exit_code=2)
    if chosen.bundle and not chosen.bundle.is_file():
        raise UserError(f"--bundle {chosen.bundle}: no such file; scripts/make_bundle.py makes one")
    if re.search(r"://[^/@\s]+@", chosen.source or ""):
        raise UserError("--source: a password in a URL would be sent and logged")
    if not (chosen.source or chosen.bundle):
        chosen.source = _default_source(chosen.dry_run)
    check_folder(chosen.out)
    return chosen


def placeholder(missing: str, stands_in: str) -> str:
    """What a dry run shows for a value that only a real launch needs; it says so on stderr."""
    print(f"dry run with {stands_in}: {without_secrets(missing)}", file=sys.stderr)
    return stands_in


def _default_source(dry_run: bool) -> str:
    try:
        return payload.default_source()
    except UserError as exc:
        if not dry_run:
            raise
        return placeholder(str(exc), payload.EXAMPLE)


def check_folder(out: Path) -> None:
    """Told before the work is done: a record that cannot be kept is lost with its machine.

    Raises:
        UserError: `out` is below a file, or in a folder that cannot be written to.
    """
    there = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise UserError(f"--out {out}: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"--out {out}: {there}: choose a folder you may write to")


def run(main: Callable[[], int]) -> None:
    """Call `main` and exit; what the user can mend is one line on stderr, without a traceback."""
    try:
        sys.exit(main())
    except UserError as fault:
        print(f"error: {without_secrets(str(fault))}", file=sys.stderr)
        sys.exit(fault.exit_code)
    except BrokenPipeError:  # whoever read it has left: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as exc:
        print(f"error: {without_secrets(trouble(exc))}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def secret(name: str, where: str) -> str:
    """A credential from the environment, the only place one is taken from.

    Raises:
        UserError: it is not set; `where` says where to get it.
    """
    value = os.environ.get(name, "").strip()
    if not value:
        raise UserError(f"{name} is not set: {where}")
    return value


def without_secrets(text: str, queries: bool = True) -> str:
    """`text` with the value of every credential of this environment and of URLs blotted out.

    A URL's user and password count as such, and unless `queries` is false what its query holds
    (`?private_token=`).
    """
    for name, value in os.environ.items():
        if re.search(r"TOKEN|SECRET|PASSWORD|_KEY$", name) and len(value) >= 6:
            text = text.replace(value, "***")
    text = re.sub(r"(\w+://)[^/@\s]+@", r"\1***@", text)
    return re.sub(r"([?&][^=&#\s]+=)[^&#\s\"']+", r"\1***", text) if queries else text


def client(name: str) -> list[str]:
    """The command of a platform's own client: that of this environment, else that of PATH."""
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    return [beside or shutil.which(name) or name]


class Deadline:
    """Time left of a launch, on a monotonic clock."""

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._end = clock() + seconds
        self.seconds = seconds

    def left_s(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._end - self._clock())

    def pause(self, seconds: float, waiting_for: str) -> None:
        """Sleep, at most until the deadline.

        Raises:
            UserError: the deadline has passed.
        """
        if self.left_s() <= 0:
            raise UserError(f"timeout: {waiting_for} took more than {self.seconds:g} s (--timeout)")
        self._sleep(min(seconds, self.left_s()))
