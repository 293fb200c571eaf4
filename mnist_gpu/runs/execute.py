"""One checked configuration becomes one run and one record."""

import logging
import secrets
from collections.abc import Mapping
from pathlib import Path

from mnist_gpu import data, engines, files, output
from mnist_gpu.collection import no_collection
from mnist_gpu.config import deviations
from mnist_gpu.config.settings import Settings
from mnist_gpu.engines.base import Engine
from mnist_gpu.errors import UserError
from mnist_gpu.measure.resources import Sampler
from mnist_gpu.protocol.workload import State, Weights
from mnist_gpu.records.schema import Record
from mnist_gpu.records.store import write_record
from mnist_gpu.runs import assemble, checkpoint, console, done, lock, loggers, ranks, signals
from mnist_gpu.runs.folder import RunLog, claim, refuse_used
from mnist_gpu.runs.outcome import SIGNALLED, Outcome, failure, guarded
from mnist_gpu.runs.resume import Continuation, find_continuation, restarts
from mnist_gpu.runs.sweep import Sweep
from mnist_gpu.runs.workload import options_of, workload_of
from mnist_gpu.timing.pieces import Pieces
from mnist_gpu.timing.stopwatch import Stopwatch, no_device
from mnist_gpu.timing.timeline import Observer, Timeline

log = logging.getLogger(__name__)


def execute(
    settings: Settings,
    folder: Path,
    stopwatch: Stopwatch,
    texts: Mapping[str, str],
    sweep: Sweep | None = None,
) -> tuple[Record, Outcome]:
    """Train as `settings` say and leave record, curves and weights in `folder`.

    A sweep's job that an earlier sweep has done is not done again: its record is returned.

    Args:
        settings: checked (`config.compose.check`).
        folder: the run's own: new, or empty. A resumed run goes on in its first folder instead.
        stopwatch: running in the phase `startup`.
        texts: what `.hydra/` is to hold, by file name.
        sweep: that this is a job of.

    Raises:
        UserError: the run could not start.
    """
    run_log = RunLog()
    with run_log.listening():
        return _execute(settings, folder, stopwatch, texts, sweep, run_log)


def _execute(
    settings: Settings,
    folder: Path,
    stopwatch: Stopwatch,
    texts: Mapping[str, str],
    sweep: Sweep | None,
    run_log: RunLog,
) -> tuple[Record, Outcome]:
    if settings.resume is None and not restarts():
        refuse_used(folder)
    console.announce(settings, deviations.describe(settings))
    engine_class = engines.find(settings.engine.name)
    platform = assemble.detect_platform(settings)
    stopwatch.enter("data")
    dataset = data.load(settings.data.model_dump(), announce=output.say)
    fingerprint = deviations.fingerprint(settings, dataset.sha256)
    if not settings.rerun and sweep and (found := done.find(fingerprint, sweep)):
        output.say(f"already there: {found.path} (rerun=true redoes it)")
        return found.record, Outcome()
    before = find_continuation(settings.resume, folder, fingerprint, sweep)
    workload = workload_of(settings, dataset)
    with lock.held(before.folder), ranks.gathered(settings, dataset):
        stopwatch.enter("build")
        engine = engine_class(workload, options_of(settings), settings.platform.accelerator)
        try:
            _build(engine, before, stopwatch)
            if before.checkpoint is None:
                claim(before.folder, texts)
            run_log.write_to(before.folder)
            return _train(settings, before, engine, stopwatch, platform, fingerprint)
        finally:
            stopwatch.synchronise = no_device
            engine.close()


def _build(engine: Engine, before: Continuation, stopwatch: Stopwatch) -> None:
    try:
        # frameworks load more of themselves here
        with no_collection():
            engine.build()
        stopwatch.synchronise = engine.synchronise
        if before.checkpoint is not None:
            _refuse_misfit(before.checkpoint.state, engine.state(), before.folder)
            engine.load_state(before.checkpoint.state)
            stopwatch.carry(before.checkpoint.totals_ns)
    except (UserError, NotImplementedError):
        raise
    except Exception as fault:  # frameworks raise their own kinds
        log.debug("the engine could not be built", exc_info=True)
        stopwatch.synchronise = no_device
        raise UserError(f"failed: {failure(fault)}") from None


def _refuse_misfit(found: State, wanted: State, folder: Path) -> None:
    """Frameworks stretch an array of another shape to fit; a checkpoint may not need that."""
    for name, array in wanted.items():
        if name not in found or found[name].shape != array.shape:
            raise UserError(f"resume={folder}: its checkpoint does not fit this network: {name}")


def _train(
    settings: Settings,
    before: Continuation,
    engine: Engine,
    stopwatch: Stopwatch,
    platform: assemble.PlatformFacts,
    fingerprint: str,
) -> tuple[Record, Outcome]:
    run_id = before.run_id or secrets.token_hex(16)
    folder = before.folder
    facts = engine.facts()
    sampler = Sampler(facts.accelerator, facts.accelerator_name, facts.accelerator_count)
    if before.checkpoint is not None and before.checkpoint.resources is not None:
        sampler.carry(before.checkpoint.resources)
    saver = checkpoint.Saver(
        folder / "checkpoints",
        settings.checkpoint_every,
        engine.state,
        before.segments,
        fingerprint,
        run_id,
        sampler.so_far,
    )
    division = assemble.division(settings, facts, platform)
    curves = loggers.open_curves(settings, engine, division, folder, run_id)
    workload = engine.workload
    images_per_epoch = len(workload.dataset.train_labels)
    progress = console.Progress(workload.steps_per_epoch, images_per_epoch)
    pieces = Pieces(workload.steps_per_epoch) if settings.estimate else None
    extra = [observer for observer in (pieces, curves) if observer]
    observers: list[Observer] = [*extra, saver, progress]
    timeline = Timeline(stopwatch, workload.epochs, observers, before.history)
    # until the record is written: a signal that comes late must not cost it
    with signals.noted(lambda signum: setattr(timeline, "interrupted_by", signum)):
        stopwatch.enter("warmup")
        outcome = guarded(lambda: _fit(settings, engine, timeline, sampler, folder), timeline)
        outcome = _refuse_missing_steps(settings, engine, timeline, outcome)
        resources = sampler.stop()
        stopwatch.enter("checkpoint")
        weights, outcome = _keep_weights(engine, timeline, folder, outcome)
        stopwatch.enter("other")
        if curves is not None:
            loggers.finish(curves, engine, timeline)
        record = assemble.record(
            settings,
            platform,
            engine,
            timeline,
            resources,
            outcome.status,
            outcome.reason,
            run_id,
            before.segments,
            weights,
        )
        _write_record(record, outcome, folder / "record.json")
        if pieces is not None and outcome.status == "completed":
            _estimate(record, pieces, folder)
    if timeline.interrupted_by is not None and outcome.exit_code == 0:
        outcome = Outcome(exit_code=SIGNALLED + timeline.interrupted_by)
    return record, outcome


def _refuse_missing_steps(
    settings: Settings, engine: Engine, timeline: Timeline, outcome: Outcome
) -> Outcome:
    """A run that made other steps than its epochs have did not train what its record would say.

    A configured callback, logger or argument of the Trainer may do that, and is a deviation.
    """
    expected = engine.workload.steps_per_epoch * len(timeline.history)
    if outcome.status != "completed" or deviations.configured_classes(settings):
        return outcome
    made = engine.steps_made()
    if made == expected and len(timeline.history) == timeline.epochs:
        return outcome
    return Outcome(
        "failed",
        f"{made:,} optimizer steps were made where {timeline.epochs} epochs have"
        f" {engine.workload.steps_per_epoch * timeline.epochs:,}: something outside the"
        " configuration changed the training",
        1,
    )


def _keep_weights(
    engine: Engine, timeline: Timeline, folder: Path, outcome: Outcome
) -> tuple[Weights | None, Outcome]:
    """Write the final weights; a device or a disk that fails here fails the run, not the record."""
    if not timeline.history:
        return None, outcome
    try:
        weights = engine.weights()
        checkpoint.write_weights(weights, folder / "checkpoints" / "weights.npz")
    except Exception as fault:  # frameworks raise their own kinds
        timeline.stopwatch.synchronise = no_device
        if outcome.status == "completed":
            outcome = Outcome("failed", failure(fault), 1)
        return None, outcome
    return weights, outcome


def _write_record(record: Record, outcome: Outcome, path: Path) -> None:
    try:
        write_record(record, path)
    except UserError as fault:
        why = f"{outcome.line}; " if outcome.exit_code else ""
        raise UserError(f"{why}{fault}", outcome.exit_code or 1) from None
    console.summarise(record, str(path))


def _estimate(record: Record, pieces: Pieces, folder: Path) -> None:
    from mnist_gpu.report.estimates import sentences
    from mnist_gpu.runs import estimating

    try:
        estimate = estimating.of_run(record, pieces)
        path = estimating.write(estimate, folder)
    except UserError as fault:  # the run is done, and its record written
        output.say(f"no estimate: {fault}")
        return
    output.say("\n".join(["", *sentences(estimate), f"estimate.json  {path}"]))


def _fit(
    settings: Settings, engine: Engine, timeline: Timeline, sampler: Sampler, folder: Path
) -> None:
    engine.warm_up()
    if settings.profile_steps:
        profile = files.free(folder / "profile")
        profile.mkdir(parents=True)
        engine.trace(settings.profile_steps, profile)
    timeline.began()
    sampler.start()
    engine.fit(timeline)
