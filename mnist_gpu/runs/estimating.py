"""A minute of the asked training, and what the whole run would take: `estimate.json`."""

import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from mnist_gpu import files
from mnist_gpu.config.settings import Settings
from mnist_gpu.engines.base import Engine
from mnist_gpu.errors import UserError
from mnist_gpu.protocol import standard
from mnist_gpu.records.estimate import Estimate, Span
from mnist_gpu.records.schema import Record
from mnist_gpu.runs import assemble, checkpoint
from mnist_gpu.runs.assemble import Run
from mnist_gpu.runs.console import Progress
from mnist_gpu.runs.execute import execute
from mnist_gpu.runs.outcome import Outcome, failing_in_a_line
from mnist_gpu.runs.sweep import Sweep
from mnist_gpu.timing.pieces import Enough, Pieces, extrapolate
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Timeline

NAME = "estimate.json"
# what an estimate does without, and how that is usually set
USUAL = {"devices": 1, "num_nodes": 1, "launcher": "local", "resume": None, "profile_steps": 0}


class Estimating:
    """Stands where `execute` stands for a run: trains for a while, and keeps what it made of it.

    Attributes:
        estimates: of every configuration so far, with the folder of each.
    """

    def __init__(self, budget_s: float) -> None:
        self.budget_s = budget_s
        self.estimates: list[tuple[Estimate, Path]] = []

    def __call__(
        self,
        settings: Settings,
        folder: Path,
        stopwatch: Stopwatch,
        texts: Mapping[str, str],
        sweep: Sweep | None = None,
    ) -> tuple[Estimate, Outcome]:
        """Estimate what `settings` would take, and leave `estimate.json` in `folder`.

        Raises:
            UserError: it could not be trained.
        """
        for key, usual in USUAL.items():
            if (value := getattr(settings, key)) != usual:
                raise UserError(
                    f"{key}={value}: an estimate trains on one device, here; leave it out"
                )
        estimate, outcome = execute(settings, folder, stopwatch, texts, train=self._train)
        write(estimate, folder)
        self.estimates.append((estimate, folder))
        return estimate, outcome

    def _train(self, run: Run) -> tuple[Estimate, Outcome]:
        engine, workload, stopwatch = run.engine, run.engine.workload, run.stopwatch
        pieces = Pieces(workload.steps_per_epoch, self.budget_s)
        progress = Progress(workload.steps_per_epoch, len(workload.dataset.train_labels))
        timeline = Timeline(stopwatch, workload.epochs, [progress, pieces])
        sampler = run.sampler()
        with failing_in_a_line():
            stopwatch.enter("warmup")
            engine.warm_up()
            timeline.began()
            sampler.start()
            try:
                engine.fit(timeline)
            except Enough:
                stopwatch.enter("other")
            timeline.ended()
            after_s = _after_an_epoch_s(engine, timeline, run.settings.checkpoint_every)
            stopped = Outcome("interrupted", exit_code=1)
            record = assemble.record(run, timeline, sampler.stop(), stopped, None)
        return estimate_of(record, pieces, workload.epochs, after_s), Outcome()


def _after_an_epoch_s(engine: Engine, timeline: Timeline, checkpoint_every: int) -> float:
    """Seconds of an evaluation, and of an epoch's share of a checkpoint."""
    stopwatch = timeline.stopwatch
    eval_s = [row.eval_s for row in timeline.history]
    if not eval_s:
        with stopwatch.during("eval"):
            engine.predict()
        eval_s = [stopwatch.seconds("eval")]
    with tempfile.TemporaryDirectory() as folder, stopwatch.during("checkpoint"):
        kept = checkpoint.Checkpoint(engine.state(), {}, timeline.history, 1, "", "estimate")
        checkpoint.write(kept, Path(folder) / "epoch.npz")
    saved_s = stopwatch.seconds("checkpoint") / checkpoint_every if checkpoint_every else 0.0
    return median(eval_s) + saved_s


def estimate_of(record: Record, pieces: Pieces, epochs: int, after_s: float) -> Estimate:
    """What a run like that of `record` takes with `epochs` epochs.

    Args:
        record: platform, engine, hardware and the phases before training.
        pieces: of its training.
        epochs: of the whole run.
        after_s: seconds after each epoch: evaluation and checkpoint.

    Raises:
        UserError: too little was trained.
    """
    try:
        train = extrapolate(pieces.pieces, pieces.steps_per_epoch, epochs)
    except ValueError:
        raise UserError("no estimate: too few steps were made; give it a larger budget_s") from None
    timing, platform, engine = record.timing, record.platform, record.engine
    before_s = timing.startup_s + timing.data_s + timing.build_s + timing.warmup_s
    total = [
        before_s + s * (1 + epochs * after_s / train.train_s)
        for s in (train.train_s, train.low_s, train.high_s)
    ]
    same = {"framework", "framework_version", "division", "switches", "precision"}
    return Estimate(
        created_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        program_version=record.software.program_version,
        platform=platform.name,
        label=platform.label,
        kind=platform.kind,
        hardware=record.hardware.accelerator_name or record.hardware.cpu_model or "unknown",
        engine=engine.name,
        engine_version=engine.version,
        **engine.model_dump(include=same),
        **record.workload.model_dump(include={"model", "batch_size", "dataset"}),
        epochs=epochs,
        steps=sum(piece.steps for piece in pieces.pieces),
        pieces=len(pieces.pieces),
        measured_s=sum(piece.train_s for piece in pieces.pieces),
        train_s=Span(value_s=train.train_s, low_s=train.low_s, high_s=train.high_s),
        total_s=Span(value_s=total[0], low_s=total[1], high_s=total[2]),
        price=record.price,
        limits=record.limits,
        warnings=record.resources.warnings,
    )


def of_run(record: Record, pieces: Pieces) -> Estimate:
    """What the standard run takes here, by a shorter one that has ended."""
    after_s = (record.timing.eval_s + record.timing.checkpoint_s) / max(1, len(record.epochs))
    return estimate_of(record, pieces, int(standard.protocol()["standard"]["epochs"]), after_s)


def write(estimate: Estimate, folder: Path) -> Path:
    """Leave `estimate.json` in `folder`, which is the run's own.

    Raises:
        UserError: it cannot be written.
    """
    path = folder / NAME
    try:
        files.write_whole(path, (estimate.model_dump_json(indent=2) + "\n").encode(), new=True)
    except OSError as exc:
        raise UserError(files.trouble(exc)) from None
    return path
