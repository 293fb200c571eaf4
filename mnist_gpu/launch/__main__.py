"""`python -m mnist_gpu.launch NAME ARGUMENTS`, behind `scripts/NAME/launch.py` and
`scripts/make_bundle.py`."""

import sys
from importlib import import_module

from mnist_gpu.launch.entry import run

LAUNCHERS = ("bundle", "colab", "jetstream", "jupyterhub", "kaggle")


def main() -> int:
    """Hand over to the launcher that the first argument names."""
    name, *arguments = sys.argv[1:] or [""]
    if name not in LAUNCHERS:
        print(f"error: which launcher? one of {', '.join(LAUNCHERS)}", file=sys.stderr)
        return 2
    sys.argv[0] = "make_bundle.py" if name == "bundle" else "launch.py"
    return int(import_module(f"mnist_gpu.launch.{name}").main(arguments))


if __name__ == "__main__":
    run(main)
