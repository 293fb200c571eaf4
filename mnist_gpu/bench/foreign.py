"""What the switches bring a network of one's own: `--module path.py:MyModule`.

The file offers a LightningModule, and beside it a LightningDataModule (or the module has its own
loaders), both without arguments.
"""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnist_gpu.errors import UserError

SWITCHES = ("fused_adam", "channels_last", "compile", "keep_memory")


def load(where: str) -> tuple[Any, Any]:
    """The module and the data module (None where the module has loaders) named by `path.py:Class`.

    Raises:
        UserError: the file or the class is not there, or is no LightningModule.
    """
    import lightning.pytorch as L

    path, _, name = where.partition(":")
    if not Path(path).is_file() or not name:
        raise UserError(f"--module {where}: give a file and a class, as path.py:MyModule")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = code
    spec.loader.exec_module(code)
    kind = getattr(code, name, None)
    if not (isinstance(kind, type) and issubclass(kind, L.LightningModule)):
        raise UserError(f"--module {where}: {name} is no LightningModule of that file")
    for other in vars(code).values():
        own = isinstance(other, type) and other.__module__ == spec.name
        if own and issubclass(other, L.LightningDataModule):
            return kind(), other()
    return kind(), None


def make(where: str, switch: str, steps: int) -> Callable[[], float]:
    """A function that trains `steps` batches and gives their seconds."""
    import lightning.pytorch as L

    from mnist_gpu.engines.lightning import QUIET
    from mnist_gpu.engines.torch import tuning
    from mnist_gpu.timing.callback import TimingCallback

    module, data = load(where)
    switches = {switch: True} if switch != "stock" else {}
    tuning.prepare(switches, module)
    if switch == "fused_adam":
        _fuse(module)
    timing = TimingCallback(log=False)

    def once() -> float:
        arguments: dict[str, Any] = QUIET | {"limit_val_batches": 0, "limit_train_batches": steps}
        trainer = L.Trainer(max_epochs=1, callbacks=[timing], **arguments)
        trainer.fit(module, datamodule=data)
        return float(timing.summary()["train_s"])

    return once


def _fuse(module: Any) -> None:
    """Have the optimizers that the module configures made anew with `fused=True`."""
    import torch

    configure = module.configure_optimizers

    def fused() -> Any:
        made = configure()
        if not isinstance(made, (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)):
            raise UserError("fused_adam: the module configures no single Adam, AdamW or SGD")
        return type(made)([{**group, "fused": True} for group in made.param_groups])

    module.configure_optimizers = fused
