"""One checked configuration becomes one run and one record."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from mnist_gpu import data, engines, files, output
from mnist_gpu.config import deviations
from mnist_gpu.config.settings import Settings
from mnist_gpu.engines.base import Engine
from mnist_gpu.errors import UserError
from mnist_gpu.measure.resources import Sampler
from mnist_gpu.protocol.workload import Weights, most_skipped
from mnist_gpu.records.estimate import Estimate
from mnist_gpu.records.fit import sentences
from mnist_gpu.records.schema import Record
from mnist_gpu.records.store import write_record
from mnist_gpu.runs import assemble, checkpoint, console, estimating, process, ranks
from mnist_gpu.runs.assemble import Run
from mnist_gpu.runs.building import opened
from mnist_gpu.runs.folder import claim, held, refuse_used, run_log
from mnist_gpu.runs.outcome import SIGNALLED, Outcome, failing_in_a_line, failure, guarded
from mnist_gpu.runs.resume import Continuation, find_continuation, restarts
from mnist_gpu.runs.sweep import Sweep, find_done
from mnist_gpu.timing.pieces import Enough, Pieces
from mnist_gpu.timing.stopwatch import Stopwatch, no_device
from mnist_gpu.timing.timeline import Timeline

# what an estimate does without, and how that is usually set
USUAL = {"devices": 1, "num_nodes": 1, "launcher": "local", "resume": None, "profile_steps": 0}


def execute(
    settings: Settings,
    folder: Path,
    stopwatch: Stopwatch,
    texts: Mapping[str, str],
    sweep: Sweep | None = None,
    job: Callable[[Run], tuple[Any, Outcome]] | None = None,
) -> tuple[Any, Outcome]:
    """Train as `settings` say and leave record, curves and weights in `folder`.

    A sweep's job that an earlier sweep has done is not done again: its record is returned.

    Args:
        settings: checked (`config.compose.check`).
        folder: the run's own: new, or empty. A resumed run goes on in its first folder instead.
        stopwatch: running in the phase `startup`.
        texts: what `.hydra/` is to hold, by file name.
        sweep: that this is a job of.
        job: what to do once the engine is built (`Estimating`); None: train, to the record.

    Raises:
        UserError, OSError: the run could not start.
    """
    if job is not None:
        sweep = None
        for key, usual in USUAL.items():
            if (value := getattr(settings, key)) != usual:
                why = "an estimate trains on one device, here; leave it out"
                raise UserError(f"{key}={value}: {why}")
    with run_log() as write_log_to:
        # before anything is loaded or trained: a used folder is a mistake of a second
        if settings.resume is None and not restarts():
            refuse_used(folder)
        console.announce(settings, deviations.describe(settings))
        # a framework that is not installed is said before anything is fetched
        engines.find(settings.engine.name)
        platform = assemble.detect_platform(settings)
        stopwatch.enter("data")
        dataset = data.load(settings.data.model_dump(), announce=output.say)
        fingerprint = deviations.fingerprint(settings, dataset.sha256)
        if not settings.rerun and sweep and (done := find_done(fingerprint, sweep)):
            path, record = done
            output.say(f"already there: {path} (rerun=true redoes it)")
            return record, Outcome()
        # by the fingerprint: only a run of this very configuration is gone on with
        before = find_continuation(settings.resume, folder, fingerprint, sweep)
        # the folder is held first and let go last: nobody resumes a run that still writes
        with (
            held(before.folder),
            ranks.gathered(settings, dataset),
            opened(settings, dataset, stopwatch) as engine,
        ):
            _load(before, engine, stopwatch)
            if before.checkpoint is None:
                # only now, with the engine built: what cannot start leaves nothing behind
                claim(before.folder, texts)
            write_log_to(before.folder)
            run = Run(settings, platform, engine, stopwatch, before, fingerprint)
            return (job or _train)(run)


def _load(before: Continuation, engine: Engine, stopwatch: Stopwatch) -> None:
    """Go on from the checkpoint, if there is one."""
    if before.checkpoint is None:
        return
    found = before.checkpoint.state
    with failing_in_a_line():
        for name, array in engine.state().items():
            # frameworks stretch an array of another shape to fit, and train something else
            if name not in found or found[name].shape != array.shape:
                raise UserError(
                    f"resume={before.folder}: its checkpoint does not fit this network: {name}"
                )
        engine.load_state(found)
    stopwatch.carry(before.checkpoint.totals_ns)


def _train(run: Run) -> tuple[Record, Outcome]:
    settings, engine, before, folder = run.settings, run.engine, run.before, run.before.folder
    sampler = run.sampler()
    if before.checkpoint is not None and before.checkpoint.resources is not None:
        sampler.carry(before.checkpoint.resources)

    def take(timeline: Timeline) -> checkpoint.Checkpoint:
        # the clock is read after the copy, which is part of the run's time
        state, totals_ns = engine.state(), timeline.stopwatch.totals_ns()
        same = (before.segments, run.fingerprint, before.run_id)
        history = list(timeline.history)
        return checkpoint.Checkpoint(state, totals_ns, history, *same, sampler.so_far())

    resumes = before.run_id if before.checkpoint else None
    saver = checkpoint.Saver(folder / "checkpoints", settings.checkpoint_every, take, resumes)
    drawn = None
    if settings.logger.name in ("csv", "tensorboard"):
        from mnist_gpu.runs import curves  # TensorBoard takes a while to load

        drawn = curves.opened(run)
    workload = engine.workload
    progress = console.Progress(workload.steps_per_epoch, len(workload.dataset.train_labels))
    pieces = Pieces(workload.steps_per_epoch) if settings.estimate else None
    # in this order: pieces read the clock before others spend time, progress tells of what is saved
    observers = [one for one in (pieces, drawn, saver, progress) if one is not None]
    timeline = Timeline(run.stopwatch, workload.epochs, observers, before.history)
    # until the record is written: a signal that comes late must not cost it
    with process.noted(lambda signum: setattr(timeline, "interrupted_by", signum)):
        run.stopwatch.enter("warmup")
        outcome = guarded(lambda: _fit(run, timeline, sampler), timeline)
        # still a record, of a failed run: it says what happened
        outcome = _refuse_missing_steps(run, timeline, outcome)
        resources = sampler.stop()
        # the weights are copied from the device: this waits for it
        run.stopwatch.enter("checkpoint")
        weights, outcome = _keep_weights(run, timeline, outcome)
        run.stopwatch.enter("other")
        if drawn is not None:
            drawn.finish(engine, timeline)
        record = assemble.record(run, timeline, resources, outcome, weights)
        _write_record(record, outcome, folder / "record.json")
        if pieces is not None and outcome.status == "completed":
            _estimate(record, pieces, folder)
    if timeline.interrupted_by is not None and outcome.exit_code == 0:
        outcome = Outcome(exit_code=SIGNALLED + timeline.interrupted_by)
    return record, outcome


def _fit(run: Run, timeline: Timeline, sampler: Sampler) -> None:
    run.engine.warm_up()
    if steps := run.settings.profile_steps:
        profile = files.free(run.before.folder / "profile")
        profile.mkdir(parents=True)
        run.engine.trace(steps, profile)
    timeline.began()
    sampler.start()
    run.engine.fit(timeline)


def _refuse_missing_steps(run: Run, timeline: Timeline, outcome: Outcome) -> Outcome:
    """A run that made other steps than its epochs have did not train what its record would say.

    A configured callback, logger or argument of the Trainer may do that, and is a deviation.
    """
    if outcome.status != "completed" or deviations.configured_classes(run.settings):
        return outcome
    workload = run.engine.workload
    expected = workload.steps_per_epoch * timeline.epochs
    made = run.engine.steps_made()
    fits = 0 <= expected - made <= most_skipped(workload.precision, expected)
    if fits and len(timeline.history) == timeline.epochs:
        return outcome
    return Outcome(
        "failed",
        f"{made:,} optimizer steps were made where {timeline.epochs} epochs have {expected:,}:"
        " something outside the configuration changed the training",
        1,
    )


def _keep_weights(run: Run, timeline: Timeline, outcome: Outcome) -> tuple[Weights | None, Outcome]:
    """Write the final weights; a device or a disk that fails here fails the run, not the record."""
    if not timeline.history:
        return None, outcome
    try:
        weights = run.engine.weights()
        path = run.before.folder / "checkpoints" / "weights.npz"
        checkpoint.write_weights(weights, path)
    except Exception as exc:  # frameworks raise their own kinds
        timeline.stopwatch.synchronise = no_device
        if outcome.status == "completed":
            outcome = Outcome("failed", failure(exc), 1)
        return None, outcome
    return weights, outcome


def _write_record(record: Record, outcome: Outcome, path: Path) -> None:
    try:
        write_record(record, path)
    except UserError as exc:
        why = f"{outcome.line}; " if outcome.exit_code else ""
        raise UserError(f"{why}{exc}", outcome.exit_code or 1) from None
    console.summarise(record, str(path))


def _estimate(record: Record, pieces: Pieces, folder: Path) -> None:
    try:
        estimate = estimating.of_run(record, pieces)
        path = estimating.write(estimate, folder)
    except (UserError, OSError) as exc:  # the run is done, and its record written
        output.say(f"no estimate: {exc}")
        return
    output.say("\n".join(["", *sentences(estimate), f"estimate.json  {path}"]))


class Estimating:
    """What stands in place of a whole training: about a minute of it, and what the rest takes."""

    def __init__(self, budget_s: float) -> None:
        self.budget_s = budget_s
        # of every configuration so far, with the folder of each
        self.estimates: list[tuple[Estimate, Path]] = []

    def __call__(self, run: Run) -> tuple[Estimate, Outcome]:
        """Train for a while, and leave `estimate.json` in the run's folder."""
        engine, workload, stopwatch = run.engine, run.engine.workload, run.stopwatch
        pieces = Pieces(workload.steps_per_epoch, self.budget_s)
        progress = console.Progress(workload.steps_per_epoch, len(workload.dataset.train_labels))
        timeline = Timeline(stopwatch, workload.epochs, [progress, pieces])
        sampler = run.sampler()
        with failing_in_a_line():
            stopwatch.enter("warmup")
            engine.warm_up()
            timeline.began()
            sampler.start()
            try:
                engine.fit(timeline)
            # raised within the framework's own loop, which knows no other way to be ended
            except Enough:
                stopwatch.enter("other")
            timeline.ended()
            after_s = _after_an_epoch_s(engine, timeline, run.settings.checkpoint_every)
            stopped = Outcome("interrupted", exit_code=1)
            record = assemble.record(run, timeline, sampler.stop(), stopped, None)
        estimate = estimating.estimate_of(record, pieces, workload.epochs, after_s)
        estimating.write(estimate, run.before.folder)
        self.estimates.append((estimate, run.before.folder))
        return estimate, Outcome()


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
