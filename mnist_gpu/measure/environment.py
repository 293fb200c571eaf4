"""What the run ran with: versions and the state of the checkout. Never the environment itself."""

import hashlib
import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path

from mnist_gpu import __version__
from mnist_gpu.paths import PACKAGE
from mnist_gpu.records.schema import Software
from mnist_gpu.system import output_of

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
CHECKOUT = PACKAGE.parent


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
        program_version=__version__,
        package_sha256=package_sha256(),
    )


def package_sha256(package: Path = PACKAGE) -> str:
    """A digest of the package's code: names and contents of all its files of Python and C."""
    digest = hashlib.sha256()
    files = [path for path in package.rglob("*") if path.suffix in (".py", ".c", ".h")]
    for path in sorted(files, key=lambda path: path.relative_to(package).as_posix()):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


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
