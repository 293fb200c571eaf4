"""One checked configuration becomes one run and one record."""

import logging
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_gpu import data, engines
from mnist_gpu.config.schema import Settings
from mnist_gpu.engines.base import Engine, Workload
from mnist_gpu.errors import UserError
from mnist_gpu.measure.resources import Sampler
from mnist_gpu.measure.stopwatch import Stopwatch
from mnist_gpu.models.initial import initial_weights
from mnist_gpu.models.network import Network
from mnist_gpu.results.record import Record, Status
from mnist_gpu.results.store import write_record
from mnist_gpu.runs import assemble, checkpoint, console, protocol, signals
from mnist_gpu.runs.journal import Diverged, Interrupted, Journal, Observer
from mnist_gpu.runs.resume import Continuation, find_continuation

if TYPE_CHECKING:
    from mnist_gpu.runs.curves import Curves

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How training ended: the record's `status` and `status_reason`, and the exit code."""

    status: Status = "completed"
    reason: str | None = None
    exit_code: int = 0


def execute(settings: Settings, folder: Path, stopwatch: Stopwatch) -> tuple[Record, Outcome]:
    """Train as `settings` say and leave record, curves and weights in `folder`.

    Args:
        settings: checked (`config.checks.check`).
        folder: the run's own; made if missing. A resumed run goes on in its first folder instead.
        stopwatch: running in the phase `startup`.

    Raises:
        UserError: the run could not start.
    """
    console.announce(settings, protocol.describe(settings))
    engine_class = engines.find(settings.engine["name"])
    platform = assemble.detect_platform(settings)
    stopwatch.enter("data")
    dataset = data.load(settings.data, announce=_say)
    fingerprint = protocol.fingerprint(settings, dataset.sha256)
    before = find_continuation(settings.resume, folder, fingerprint)
    folder = before.folder
    stopwatch.enter("build")
    workload = _workload(settings, dataset)
    engine = engine_class(workload, settings.engine, settings.platform["accelerator"])
    try:
        engine.build()
        stopwatch.synchronise = engine.synchronise
        if before.checkpoint is not None:
            engine.load_state(before.checkpoint.state)
            stopwatch.carry(before.checkpoint.totals_ns)
        return _train(settings, before, engine, stopwatch, platform, fingerprint)
    finally:
        stopwatch.synchronise = _nothing
        engine.close()


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
    saver = checkpoint.Saver(
        folder / "checkpoints",
        settings.checkpoint,
        engine.state,
        before.segments,
        fingerprint,
        run_id,
    )
    sampler = Sampler(engine.facts().accelerator, engine.facts().accelerator_name)
    curves = _curves(settings, engine.workload, folder, run_id)
    workload = engine.workload
    progress = console.Progress(workload.steps_per_epoch, len(workload.dataset.train_labels))
    observers: list[Observer] = [*([curves] if curves else []), saver, progress]
    journal = Journal(stopwatch, workload.epochs, observers, before.history)
    with signals.noted(lambda signum: setattr(journal, "interrupted_by", signum)):
        stopwatch.enter("warmup")
        outcome = _guarded(lambda: _fit(engine, journal, sampler), journal)
        resources = sampler.stop()
    stopwatch.enter("checkpoint")
    weights = engine.weights() if journal.history else None
    if weights is not None:
        checkpoint.write_weights(weights, folder / "checkpoints" / "weights.npz")
    stopwatch.enter("other")
    if curves is not None:
        _finish_curves(curves, engine, journal)
    record = assemble.record(
        settings,
        platform,
        engine,
        journal,
        resources,
        outcome.status,
        outcome.reason,
        run_id,
        before.segments,
        weights,
    )
    write_record(record, folder / "record.json")
    console.summarise(record, str(folder / "record.json"))
    return record, outcome


def _fit(engine: Engine, journal: Journal, sampler: Sampler) -> None:
    engine.warm_up()
    journal.began()
    sampler.start()
    engine.fit(journal)


def _guarded(work: Callable[[], None], journal: Journal) -> Outcome:
    """Run `work`; whatever ends it early becomes an outcome, and no finished epoch is lost."""
    outcome = Outcome()
    try:
        work()
    except Interrupted as fault:
        outcome = Outcome("interrupted", str(fault), 128 + fault.signum)
    except KeyboardInterrupt:
        outcome = Outcome("interrupted", "Ctrl-C", 130)
    except Diverged as fault:
        outcome = Outcome("diverged", str(fault), 1)
    except (UserError, MemoryError, OSError, RuntimeError, ValueError) as fault:
        log.debug("training failed", exc_info=True)
        outcome = Outcome("failed", failure(fault), 1)
    if outcome.status != "completed":
        journal.abandoned()
    journal.ended()
    return outcome


def failure(fault: BaseException) -> str:
    """Say in one line what ended a run."""
    text = " ".join(str(fault).split())
    if isinstance(fault, MemoryError) or "out of memory" in text.lower():
        return f"out of memory: {text}"[:300]
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror.lower()
    return (text or type(fault).__name__)[:300]


def _workload(settings: Settings, dataset: data.Dataset) -> Workload:
    model = settings.model
    network = Network.from_config(model["name"], model["layers"], model["dropout"])
    steps = settings.steps_per_execution
    if steps < 0:
        steps = math.ceil(len(dataset.train_labels) / settings.batch_size)
    return Workload(
        network=network,
        dataset=dataset,
        initial_weights=initial_weights(network, settings.seed),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        precision=settings.precision,
        devices=settings.devices,
        steps_per_execution=steps,
    )


def _curves(settings: Settings, workload: Workload, folder: Path, run_id: str) -> "Curves | None":
    if settings.logger["name"] == "none":
        return None
    from mnist_gpu.runs.curves import Curves

    hyper_parameters = {
        "platform": settings.platform["name"],
        "engine": settings.engine["name"],
        "model": settings.model["name"],
        "precision": settings.precision,
        "seed": settings.seed,
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "run_id": run_id,
    }
    try:
        return Curves(
            folder / "tensorboard",
            hyper_parameters,
            len(workload.dataset.train_labels),
            settings.learning_rate,
        )
    except OSError as fault:
        log.warning("no curves: %s", fault)
        return None


def _finish_curves(curves: "Curves", engine: Engine, journal: Journal) -> None:
    try:
        if journal.history:
            totals_ns = journal.stopwatch.totals_ns()
            last = journal.history[-1]
            metrics = {
                "test_accuracy": last.test_accuracy,
                "test_loss": last.test_loss,
                "train_s": totals_ns["train"] / 1e9,
                "total_s": sum(totals_ns.values()) / 1e9,
            }
            dataset = engine.workload.dataset
            curves.final(
                last.epoch, metrics, dataset.test_images, dataset.test_labels, engine.predict()
            )
        curves.close()
    except OSError as fault:
        log.warning("the curves are incomplete: %s", fault)


def _say(line: str) -> None:
    print(line, flush=True)


def _nothing() -> None:
    return None
