"""The timing Callback under the real Trainer, on a fake clock and a fake device."""

import lightning.pytorch as L
import pytest
import torch
from mnist_gpu.engines.lightning.timing import TimingCallback
from torch.utils.data import DataLoader

from mnist_gpu.protocol.metrics import Metrics
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Timeline
from tests.test_stopwatch import FakeClock

STEP_S, EVALUATION_S = 2.0, 0.5


class FakeDevice:
    """Work is queued at once and done when somebody waits for it."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.queued_s = 0.0
        self.waits = 0

    def synchronise(self) -> None:
        self.waits += 1
        self.clock.passes(self.queued_s)
        self.queued_s = 0.0


class Fake(L.LightningModule):
    """Three executions an epoch, 2 s each on the device; evaluation takes half a second."""

    steps, steps_per_epoch = 10, 25

    def __init__(self, device: FakeDevice, fail_at: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.fake = device
        self.fail_at = fail_at
        self.began: list[int] = []

    def configure_optimizers(self):
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)

    def on_train_epoch_start(self) -> None:
        self.began.append(self.current_epoch + 1)

    def training_step(self, batch, batch_idx: int) -> None:
        if (self.current_epoch + 1, batch_idx) == self.fail_at:
            raise RuntimeError("the device is lost")
        self.fake.queued_s += STEP_S

    def validation_step(self, batch, batch_idx: int) -> None:
        self.fake.queued_s += EVALUATION_S

    def take_metrics(self) -> Metrics:
        return Metrics(0.5, 0.75)


def fit(timeline: Timeline, device: FakeDevice, epochs: int, fail_at=None) -> Fake:
    module = Fake(device, fail_at)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[TimingCallback(timeline, module)],
    )
    trainer.fit_loop.epoch_progress.current.processed = len(timeline.history)
    trainer.fit_loop.epoch_progress.current.completed = len(timeline.history)
    trainer.fit(module, DataLoader(range(3), batch_size=1), DataLoader(range(1)))
    return module


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def journal_on(clock: FakeClock, epochs: int, history=(), carried=None):
    device = FakeDevice(clock)
    stopwatch = Stopwatch(clock, device.synchronise, phase="other", carried_ns=carried)
    return Timeline(stopwatch, epochs, history=history), device


def test_queued_work_counts_for_the_epoch_and_the_phase_that_queued_it(clock):
    timeline, device = journal_on(clock, 2)
    fit(timeline, device, 2)
    assert [(row.train_s, row.eval_s) for row in timeline.history] == [(6.0, 0.5), (6.0, 0.5)]
    assert timeline.stopwatch.seconds("train") == 12.0
    assert timeline.stopwatch.seconds("eval") == 1.0


def test_the_device_is_waited_for_at_edges_only(clock):
    timeline, device = journal_on(clock, 2)
    fit(timeline, device, 2)
    assert device.waits == 3 * 2


def test_progress_counts_optimizer_steps_and_ends_at_the_epochs_number(clock):
    timeline, device = journal_on(clock, 1)
    seen = []
    timeline.progressed = seen.append
    fit(timeline, device, 1)
    assert seen == [10, 20, 25]


def test_an_exception_in_mid_epoch_keeps_the_finished_ones(clock):
    timeline, device = journal_on(clock, 3)
    with pytest.raises(RuntimeError, match="device is lost"):
        fit(timeline, device, 3, fail_at=(2, 1))
    timeline.abandoned()
    assert len(timeline.history) == 1
    assert timeline.stopwatch.seconds("train") == timeline.history[0].train_s == 6.0
    assert timeline.stopwatch.seconds("other") == 2.0


def test_a_resumed_fit_goes_on_with_the_next_epoch(clock):
    timeline, device = journal_on(clock, 2)
    fit(timeline, device, 2)
    again, device = journal_on(
        clock, 4, history=timeline.history, carried=timeline.stopwatch.totals_ns()
    )
    module = fit(again, device, 4)
    assert module.began == [3, 4]
    assert [row.epoch for row in again.history] == [1, 2, 3, 4]
    assert again.stopwatch.seconds("train") == 24.0


def test_a_second_fit_starts_from_nothing(clock):
    for _ in range(2):
        timeline, device = journal_on(clock, 1)
        fit(timeline, device, 1)
        assert timeline.stopwatch.seconds("train") == 6.0
