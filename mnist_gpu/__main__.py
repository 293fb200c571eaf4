"""One command for all that is installed: `mnist-gpu COMMAND ...`."""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

from mnist_gpu.output import entry
from mnist_gpu.version import __version__

COMMANDS = {
    "train": "one run, or with -m a sweep of them: mnist-gpu train platform=cpu",
    "estimate": "how long the standard run takes here, after about a minute of training",
    "doctor": "what about this machine makes a run slow, wrong or impossible, and the mend",
    "report": "records -> table, page and findings; --compare A B for two of them",
    "validate": "whether records are acceptable, with one line for each fault",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Hand over to the command that the first argument names; 2 where there is none of that name.

    The same as `python -m mnist_gpu.COMMAND`: only that command's modules are imported.
    """
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    if name not in COMMANDS:
        return _none(name)
    # what follows reads its arguments there: Hydra, and whoever starts further processes
    sys.argv[1:] = rest
    module = import_module(f"mnist_gpu.{'report.__main__' if name == 'report' else name}")
    if name == "train":
        module.end()
    return int(module.main(rest))


@entry
def _none(name: str) -> int:
    if name in ("-h", "--help", "help"):
        lines = [f"  {name:10}{line}" for name, line in COMMANDS.items()]
        head = "usage: mnist-gpu COMMAND ...\n\nA stopwatch for training hardware.\n\ncommands:"
        print("\n".join((head, *lines, "\nmnist-gpu COMMAND --help says what each takes.")))
    elif name == "--version":
        print(f"mnist-gpu {__version__}")
    else:
        print(f"mnist-gpu: {_meant(name)}", file=sys.stderr)
        return 2
    return 0


def _meant(name: str) -> str:
    known = f"one of {', '.join(COMMANDS)}"
    if not name:
        return f"which command? {known} (mnist-gpu --help)"
    # the habit of `python -m mnist_gpu.train`
    if "=" in name or name in ("-m", "--multirun"):
        return f"{name} stands before any command: did you mean mnist-gpu train {name} ...?"
    close = get_close_matches(name.lower(), COMMANDS, 1, cutoff=0.75)
    return f"no command {name}: " + (f"did you mean {close[0]}?" if close else known)


if __name__ == "__main__":
    sys.exit(main())
