"""What is printed outlives whoever reads it: a closed pipe or a full disk never ends a command."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TextIO, cast

from mnist_gpu.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

# the shell's convention for what Ctrl-C ended
CTRL_C = 130
Arguments = ParamSpec("Arguments")


def entry(main: Callable[Arguments, int]) -> Callable[Arguments, int]:
    """Make a command of `main`: its output survives its readers, and what the user can mend is one
    line on standard error and an exit code."""

    @wraps(main)
    def command(*args: Arguments.args, **kwargs: Arguments.kwargs) -> int:
        with surviving():
            try:
                return main(*args, **kwargs)
            except UserError as exc:
                print(f"mnist-gpu: {exc}", file=sys.stderr)
                return exc.exit_code

    return command


class Output:
    """A text stream; what cannot be written is dropped.

    Args:
        stream: the one to write to; None drops everything.
        descriptor: of the file that goes to the null device once it cannot be written to, so that
            libraries and processes that share it survive as well; None leaves it alone.
    """

    def __init__(self, stream: TextIO | None, descriptor: int | None = None) -> None:
        self._descriptor = descriptor
        self._stream = stream if stream is not None else _nowhere()

    def write(self, text: str) -> int:
        """Write `text`, in what characters the stream has; return its length."""
        try:
            self._attempt(self._stream.write, text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            self._attempt(self._stream.write, text.encode(encoding, "replace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Hand on what has been written."""
        self._attempt(self._stream.flush)

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        with suppress(OSError, ValueError):
            return self._stream.isatty()
        return False

    def close(self) -> None:
        """Nothing: a stream of the process is for the process to close."""

    def __eq__(self, other: object) -> bool:
        # absl's handler, which TensorFlow brings, closes its stream unless that "is" sys.stderr
        return other is self or other is self._stream

    def __hash__(self) -> int:
        return id(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _attempt(self, act: Callable[..., Any], *arguments: str) -> None:
        try:
            act(*arguments)
        except UnicodeEncodeError:
            raise
        except BlockingIOError:
            pass  # a reader who is slow may come back
        except (OSError, ValueError):
            self._stream = _nowhere()
            if self._descriptor is not None:
                os.dup2(self._stream.fileno(), self._descriptor)


def here() -> TextIO:
    """Standard output as it is at this moment, surviving."""
    return cast(TextIO, sys.stdout if isinstance(sys.stdout, Output) else Output(sys.stdout))


def say(line: str) -> None:
    """Print to standard output as it is at this moment, at once, whoever reads it."""
    print(line, flush=True, file=here())


def console(file: TextIO | None = None, **options: Any) -> "Console":
    """rich's, on standard output as it is at this moment; of 80 columns where none are stated.

    Args:
        file: another stream.
        **options: of `rich.console.Console`.
    """
    from rich.console import Console

    made = Console(file=file or here(), highlight=False, **options)
    # COLUMNS=0, as some editors' shells have it, would print nothing
    made.width = made.width or 80
    return made


@contextmanager
def surviving() -> Iterator[None]:
    """Within the block, what is printed to standard output and error survives its readers, and
    Ctrl-C ends the command in a line.

    For entries alone: it is the process's own streams that are replaced.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # closed: the next file that is opened would take its place, and all that is printed
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = cast(tuple[TextIO, TextIO], (_of(sys.stdout, 1), _of(sys.stderr, 2)))
    try:
        yield
    except KeyboardInterrupt:
        print("mnist-gpu: interrupted", file=sys.stderr)
        raise SystemExit(CTRL_C) from None
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


def _of(stream: TextIO | None, descriptor: int) -> Output:
    with suppress(OSError, ValueError):
        if stream is not None and stream.fileno() == descriptor:
            return Output(stream, descriptor)
    return Output(stream)


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")
