"""What the run ran with: versions and the state of the checkout. Never the environment itself."""

import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path

from mnist_gpu import __version__
from mnist_gpu.measure.sources import output_of
from mnist_gpu.records.schema import Software

# distribution by the module whose presence says that it was used
PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "lightning": "lightning",
    "hydra": "hydra-core",
    "omegaconf": "omegaconf",
    "numpy": "numpy",
    "tensorflow": "tensorflow",
    "keras": "keras",
    "jax": "jax",
    "jaxlib": "jaxlib",
    "mlx": "mlx",
    "pydantic": "pydantic",
    "tensorboard": "tensorboard",
}
CHECKOUT = Path(__file__).resolve().parents[2]


def read(checkout: Path = CHECKOUT) -> Software:
    """The software part of the record."""
    commit = _git(checkout, "rev-parse", "HEAD") or _commit_of_archive()
    changes = _git(checkout, "status", "--porcelain", "--untracked-files=no") if commit else None
    return Software(
        python=platform.python_version(),
        os=operating_system(),
        packages=packages(),
        git_commit=commit,
        git_dirty=None if changes is None else bool(changes),
        version=__version__,
    )


def packages() -> dict[str, str]:
    """Versions of the packages that matter and that this run has imported."""
    found = {}
    for module, distribution in PACKAGES.items():
        if module in sys.modules:
            try:
                found[distribution] = metadata.version(distribution)
            except metadata.PackageNotFoundError:
                continue
    return found


def operating_system() -> str:
    """Such as `Linux 6.1 (Debian GNU/Linux 12)` or `macOS 15.2`; no host name."""
    if platform.system() == "Darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        distribution = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        distribution = ""
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{platform.system()} {kernel}" + (f" ({distribution})" if distribution else "")


def _commit_of_archive() -> str | None:
    """The commit that `scripts/bootstrap.py` installed from; an installed wheel knows none."""
    given = os.environ.get("MNIST_GPU_COMMIT", "")
    return given if re.fullmatch(r"[0-9a-f]{40}", given) else None


def _git(checkout: Path, *arguments: str) -> str | None:
    there = (checkout / ".git").exists()
    return output_of("git", "-C", str(checkout), *arguments) if there else None
