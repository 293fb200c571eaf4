"""`TimingCallback`: where the time of a `Trainer.fit` goes, whatever the module.

A phase has to be timed from where the Trainer goes into that work to where it comes out. Several of
Lightning's hooks (read in 2.6) lie beside these places:

* `on_train_epoch_start` is skipped on a resume within an epoch, and `on_train_epoch_end` comes
  after other callbacks' work at an epoch's end;
* validation runs inside the training epoch, and its loader starts its workers before
  `on_validation_start`;
* no hook says that a checkpoint has been written or a logger has returned;
* data are prepared before `setup`, and loggers are closed after `teardown`.

So the methods that do the work run inside a phase of the stopwatch, on this one Trainer and for the
length of one call, exceptions included. What the hooks tell exactly is taken from them.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Checkpoint
from typing_extensions import override

from mnist_gpu.timing.ledger import EpochTimes, Ledger, in_seconds
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.trainer import (
    Around,
    leading_dimension,
    synchronise,
    why_wait_is_unknown,
    yields_batches,
)


class TimingCallback(L.Callback):
    """Splits the wall time of `fit` into `train`, `eval`, `checkpoint` and `other`, exactly.

    The phases exclude each other and add up to the time from the call of `fit` to its return. The
    Trainer's device is waited for once at each edge between two phases, never at a batch. Each
    `fit` starts from nothing, but for one that resumes from a checkpoint: it goes on from what the
    checkpoint says. `validate`, `test` and `predict` are kept apart from it.

    Args:
        clock: a monotonic clock in nanoseconds.
        log: send `time/train_s`, `time/eval_s`, `time/data_wait_s` and `time/images_per_s` (or
            `time/steps_per_s` where images cannot be counted) to the Trainer's loggers once an
            epoch.
        file: where the first process writes `summary()` as JSON once a call is over.
        stopwatch: one that is running, to be used instead of a new one with `clock`; it keeps its
            own way to wait for the device.

    Example:
        >>> timing = TimingCallback(file="timing.json")
        >>> Trainer(max_epochs=3, callbacks=[timing]).fit(model)
        >>> timing.summary()["train_s"], timing.epochs[0].data_wait_s
    """

    def __init__(
        self,
        clock: Callable[[], int] = time.perf_counter_ns,
        log: bool = True,
        file: str | os.PathLike[str] | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self._clock_ns = clock
        self._logs = log
        self._file = None if file is None else Path(file)
        self._given = stopwatch
        self._log: Any = None
        self._state: dict[str, Any] | None = None
        self._facts: dict[str, Any] = {"status": "not started", "exception": None}
        self._fit = Ledger(None)
        self._evaluations: list[dict[str, Any]] = []
        self._called: tuple[Stopwatch, Ledger] | None = None
        self._stage = ""
        self._exception: str | None = None
        self._waiting_from_ns: int | None = None
        self._wait_known = False

    def epoch_began(self, trainer: L.Trainer, pl_module: L.LightningModule, epoch: int) -> None:
        """For subclasses: epoch `epoch`, from 1, is about to be trained; not on its clock yet."""

    def batch_arrived(self, waited_ns: int) -> None:
        """For subclasses: the host has waited so long for the batch that is now to be trained."""

    def evaluating(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """For subclasses: training has stopped for a validation; the phase is `eval`."""

    def evaluated(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """For subclasses: a validation has ended; the phase is still `eval`."""

    def epoch_ended(
        self, trainer: L.Trainer, pl_module: L.LightningModule, times: EpochTimes
    ) -> None:
        """For subclasses: an epoch is over and `trainer.callback_metrics` hold its metrics."""

    def count_images(self, batch: Any) -> int | None:
        """For subclasses: how many images (samples) a training batch holds, None if unknown."""
        return leading_dimension(batch)

    @property
    def epochs(self) -> list[EpochTimes]:
        """A row for each finished epoch of the last fit, those of its earlier segments first."""
        return list(self._fit.rows)

    def summary(self) -> dict[str, Any]:
        """Everything known of the last fit at this instant, as plain numbers, names and lists."""
        return {**self._facts, **self._fit.summary(), "evaluations": list(self._evaluations)}

    def __getstate__(self) -> dict[str, Any]:
        # a copy, as a loader's workers get one within a data module's Trainer, is around nothing
        return {**vars(self), "_wrapped": ExitStack()}

    @override
    def state_dict(self) -> dict[str, Any]:
        return self._fit.state()

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._stage == "fit":
            self._fit.load(state_dict)
        elif not self._stage:
            self._state = state_dict

    @property
    def log(self) -> Any:
        """The module's `log`, which the Trainer gives to every callback."""
        return self._log

    @log.setter
    def log(self, value: Any) -> None:
        # the Trainer does this first in every call, before it prepares data
        self._log = value
        self._called = self._start()

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        # after the progress bar, whose work at a batch's end is no wait for data; before those that
        # write checkpoints, which are to hold the batch that has ended
        def place(one: L.Callback) -> int:
            return 1 if one is self else 2 * isinstance(one, Checkpoint)

        trainer.callbacks = sorted(trainer.callbacks, key=place)  # type: ignore[attr-defined]

        self._stage = getattr(stage, "value", stage)
        self._stopwatch, self._call = self._called or self._start()
        if self._given is None:
            self._stopwatch.synchronise = partial(synchronise, trainer.strategy.root_device)
        self._called, self._exception = None, None
        self._waiting_from_ns, self._wait_known = None, False
        self._wrapped = ExitStack()
        self._first_process = trainer.is_global_zero
        if stage == "fit":
            self._fit, state, self._state = self._call, self._state, None
            self._facts = {
                "status": "running",
                "exception": None,
                "device": str(trainer.strategy.root_device),
                "data_wait_unknown": why_wait_is_unknown(trainer),
            }
            if state is not None:
                self._fit.load(state)
        self._wrap_call(trainer)

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # no sooner: the sanity check and the search for a learning rate run the same loops
        epoch_loop = trainer.fit_loop.epoch_loop
        self._around(epoch_loop, "run", lambda: self._train(trainer, pl_module))
        self._around(epoch_loop.val_loop, "run", lambda: self._validate(trainer, pl_module))

    @override
    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._waiting_from_ns is not None:
            waited_ns = self._stopwatch.elapsed_ns("train") - self._waiting_from_ns
            self._waiting_from_ns = None
            self._fit.count_wait(waited_ns)
            self.batch_arrived(waited_ns)

    @override
    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self._fit.count_batch(self.count_images(batch))
        if self._wait_known:
            self._waiting_from_ns = self._stopwatch.elapsed_ns("train")

    @override
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        times = self._fit.rows[-1]
        self.epoch_ended(trainer, pl_module, times)
        if self._logs and trainer.loggers:
            # a tensor of the module's type would round, but keeps the step that loggers show; with
            # `rank_zero_only` nothing is summed up, and without `sync_dist` Lightning advises it
            pl_module.log_dict(times.metrics(), rank_zero_only=True, sync_dist=True, batch_size=1)

    @override
    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        if self._called is not None:
            # it never came to `setup`: there are no data, or somebody's own `setup` has failed
            assert trainer.state.fn is not None
            self.setup(trainer, pl_module, trainer.state.fn)
        self._exception = type(exception).__name__

    def _start(self) -> tuple[Stopwatch, Ledger]:
        stopwatch = self._given or Stopwatch(self._clock_ns, phase="other")
        return stopwatch, Ledger(stopwatch)

    def _wrap_call(self, trainer: Any) -> None:
        loop = {
            "fit": trainer.fit_loop.epoch_loop.val_loop,
            "validate": trainer.validate_loop,
            "test": trainer.test_loop,
            "predict": trainer.predict_loop,
        }[self._stage]
        if self._stage != "fit":
            self._around(loop, "run", lambda: self._phase("eval"))
        for owner, name in ((trainer, "save_checkpoint"), (trainer.strategy, "remove_checkpoint")):
            self._around(owner, name, lambda: self._phase("checkpoint"))
        for logger in trainer.loggers:
            for name in ("log_metrics", "save", "after_save_checkpoint"):
                # at every batch, if the user wants it so: the device is not waited for
                self._around(logger, name, lambda: self._phase("other", wait=False))
        # the last things that the Trainer does in a call: where it succeeds, and after an exception
        self._around(trainer.profiler, "describe", lambda: self._end(failed=False))
        self._around(loop, "teardown", lambda: self._end(failed=True))

    def _around(self, owner: object, name: str, context: Callable[[], Any]) -> None:
        self._wrapped.callback(Around(owner, name, context).restore)

    @contextmanager
    def _phase(self, phase: str, then: str | None = None, wait: bool = True) -> Iterator[None]:
        with self._stopwatch.during(phase, then, wait):
            yield
        if self._waiting_from_ns is not None:
            self._waiting_from_ns = self._stopwatch.elapsed_ns("train")

    @contextmanager
    def _train(self, trainer: L.Trainer, pl_module: L.LightningModule) -> Iterator[None]:
        epoch = trainer.current_epoch + 1
        self._wait_known = self._facts["data_wait_unknown"] is None
        self._fit.begin_epoch(
            epoch,
            partial(getattr, trainer, "global_step"),
            self._wait_known,
            yields_batches(trainer.train_dataloader),
        )
        self.epoch_began(trainer, pl_module, epoch)
        with self._phase("train", then="other"):
            self._fit.train()
            if self._wait_known:
                self._waiting_from_ns = self._stopwatch.elapsed_ns("train")
            yield
            self._waiting_from_ns = None
        self._fit.end_epoch()

    @contextmanager
    def _validate(self, trainer: L.Trainer, pl_module: L.LightningModule) -> Iterator[None]:
        # after the last batch there is nothing left to train
        with self._phase("eval", then="other" if trainer.is_last_batch else None):
            self.evaluating(trainer, pl_module)
            yield
            self.evaluated(trainer, pl_module)

    @contextmanager
    def _end(self, failed: bool) -> Iterator[None]:
        yield
        if failed != (self._exception is not None):
            return
        self._wrapped.close()
        self._call.end()
        outcome = {"status": "failed" if failed else "completed", "exception": self._exception}
        if self._stage == "fit":
            self._facts |= outcome
        else:
            times = in_seconds(self._call.totals_ns())
            self._evaluations.append({"call": self._stage, **outcome, **times})
        self._stage = ""
        if self._file is not None and self._first_process:
            # moved there, so that nobody ever reads half of it
            self._file.parent.mkdir(parents=True, exist_ok=True)
            beside = self._file.with_name(f".{self._file.name}.{os.getpid()}")
            beside.write_text(json.dumps(self.summary(), indent=2) + "\n", encoding="utf-8")
            os.replace(beside, self._file)
