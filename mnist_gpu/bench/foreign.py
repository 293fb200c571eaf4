"""What the switches bring a network of one's own: `--module path.py:MyModule`.

The file offers a LightningModule, and beside it a LightningDataModule (or the module has its own
loaders), both without arguments.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnist_gpu.errors import UserError

SWITCHES = ("fused_adam", "channels_last", "compile", "keep_memory")


def load(where: str) -> tuple[Any, Any]:
    """The module and the data module (None where the module has loaders) named by `path.py:Class`;
    UserError where there is no such LightningModule."""
    import lightning.pytorch as L

    path, _, name = where.partition(":")
    if not Path(path).is_file() or not name:
        raise UserError(f"--module {where}: give a file and a class, as path.py:MyModule")
    # it may import what lies beside it
    sys.path.insert(0, str(Path(path).resolve().parent))
    code = importlib.import_module(Path(path).stem)
    own = [kind for kind in vars(code).values() if getattr(kind, "__module__", "") == code.__name__]
    kinds = [kind for kind in own if isinstance(kind, type)]
    module = next((kind for kind in kinds if kind.__name__ == name), None)
    if module is None or not issubclass(module, L.LightningModule):
        raise UserError(f"--module {where}: {name} is no LightningModule of that file")
    data = next((kind for kind in kinds if issubclass(kind, L.LightningDataModule)), None)
    return module(), data and data()


def epoch(where: str, switch: str | None, steps: int) -> Callable[[], float]:
    """A function that trains so many batches and gives their seconds; it has done so once."""
    import lightning.pytorch as L

    from mnist_gpu.engines.lightning import QUIET
    from mnist_gpu.engines.torch import tuning
    from mnist_gpu.timing.callback import TimingCallback

    module, data = load(where)
    tuning.prepare({switch: True} if switch else {}, module)
    if switch == "fused_adam":
        _fuse(module)
    timing = TimingCallback(log=False)

    def once() -> float:
        limits: dict[str, Any] = {"limit_val_batches": 0, "limit_train_batches": steps}
        trainer = L.Trainer(max_epochs=1, callbacks=[timing], **{**QUIET, **limits})
        trainer.fit(module, datamodule=data)
        return float(timing.summary()["train_s"])

    # compilation and the first batches are not what is compared
    once()
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
