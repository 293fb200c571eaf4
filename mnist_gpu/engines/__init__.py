"""The engines, found by name: `mnist_gpu.engines.<name>` offers a class `ENGINE`."""

import importlib
import pkgutil
import sys
from typing import TYPE_CHECKING

from mnist_gpu.collection import no_collection
from mnist_gpu.errors import UserError

if TYPE_CHECKING:
    from mnist_gpu.engines.base import Engine

NOT_ENGINES = {"base"}


def names() -> list[str]:
    """The engines there are, installed framework or not."""
    return sorted({module.name for module in pkgutil.iter_modules(__path__)} - NOT_ENGINES)


def find(name: str) -> type["Engine"]:
    """Import one engine, and with it its framework alone.

    Raises:
        UserError: there is no such engine, or its framework is not installed.
    """
    if name not in names():
        raise UserError(f"engine={name}: choose from {', '.join(names())}")
    if "tensorflow" in sys.modules:
        # Triton after TensorFlow in one process, as in a sweep over engines, ends it: each brings
        # an LLVM. PyTorch does without Triton where it cannot be imported.
        sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
    try:
        # a framework's modules stay: searching them for garbage while they load takes a second
        with no_collection():
            module = importlib.import_module(f"mnist_gpu.engines.{name}")
    except ModuleNotFoundError as fault:
        # a mistake of ours is no framework that is missing
        if fault.name and fault.name.partition(".")[0] == "mnist_gpu":
            raise
        raise UserError(
            f"engine={name} needs {fault.name}, which is not installed:"
            f' pip install "mnist-gpu[{name}]"'
        ) from None
    engine: type[Engine] = module.ENGINE
    return engine
