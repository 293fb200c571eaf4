"""The record of a run, put together from what everybody knows of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any, cast

from mnist_gpu.config import deviations
from mnist_gpu.config.compose import platforms
from mnist_gpu.config.settings import PlatformSettings, Settings
from mnist_gpu.engines.base import Engine
from mnist_gpu.measure import detect, hardware, influences, signals
from mnist_gpu.measure.resources import Sampler
from mnist_gpu.protocol.workload import EngineFacts, Weights, Workload, fewest_steps
from mnist_gpu.records import schema
from mnist_gpu.records.acceptable import harmless
from mnist_gpu.runs import checkpoint
from mnist_gpu.runs.outcome import Outcome
from mnist_gpu.runs.resume import Continuation
from mnist_gpu.timing.stopwatch import NANOSECONDS_PER_SECOND, PHASES, Stopwatch
from mnist_gpu.timing.timeline import Epoch, Timeline


@dataclass(frozen=True)
class PlatformFacts:
    """Where a run is: the platform that was asked for, every signal, and what the user's
    environment changes in speed beyond the platform's image."""

    asked: PlatformSettings
    detection: signals.Detection
    environment: Mapping[str, str]

    def of(self, facts: EngineFacts) -> PlatformSettings:
        """The platform asked for; for `auto` the one whose rule the signals and what trains fit."""
        if self.asked.name != "auto":
            return self.asked
        known = platforms()
        rules = {
            name: {"detect": entry.rule, "accelerator": entry.accelerator}
            for name, entry in known.items()
        }
        # only now: of two platforms in one place the accelerator decides
        found = signals.choose(rules, self.detection, facts.accelerator, facts.accelerator_name)
        return known.get(found or "", self.asked)


def detect_platform(settings: Settings) -> PlatformFacts:
    """Look around."""
    detection = detect.detect()
    speed = influences.speed_environment(
        image=influences.image_defaults(detection.front), uses=settings.engine.uses
    )
    return PlatformFacts(settings.platform, detection, speed)


@dataclass(frozen=True)
class Run:
    """A run whose engine is built and whose stopwatch runs; `before` is where it goes on from, the
    fingerprint that of configuration and data set."""

    settings: Settings
    platform: PlatformFacts
    engine: Engine
    stopwatch: Stopwatch
    before: Continuation
    fingerprint: str

    @property
    def division(self) -> str:
        """`stock`, `tuned` or `open`, worked out from what is on."""
        return self.engine.facts().division(self.platform.environment)

    def sampler(self) -> Sampler:
        """What reads the resources that the engine's devices use."""
        facts = self.engine.facts()
        return Sampler(facts.accelerator, facts.accelerator_name, facts.accelerator_count)


def record(
    run: Run,
    timeline: Timeline,
    resources: schema.Resources,
    outcome: Outcome,
    weights: Weights | None,
) -> schema.Record:
    """Put the record together; the total is read now, so call it last."""
    facts, platform = run.engine.facts(), run.platform
    place = platform.of(facts)
    hardware_part = hardware.read(facts)
    software_part = hardware.software()
    workload = _workload(run, len(timeline.history))
    # the clock is read last: everything above is part of the whole
    timing = _timing(timeline, run.before.segments, facts)
    return schema.Record(
        schema_version=2,
        protocol_version=1,
        run_id=run.before.run_id,
        created_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        status=outcome.status,
        # an exception's text may hold a path, and a path a name
        status_reason=None if outcome.reason is None else harmless(outcome.reason),
        platform=schema.Platform(
            **_of(place, "name", "label", "kind"),
            claimed=run.settings.platform.name,
            rehearsal=run.settings.platform.rehearsal,
            detected=platform.detection.name,
            verified=signals.matches(place.rule, platform.detection, facts.accelerator_name),
            signals=platform.detection.signals,
        ),
        engine=_engine(run, facts),
        hardware=hardware_part,
        software=software_part,
        workload=workload,
        timing=timing,
        epochs=[schema.EpochRecord(**asdict(row)) for row in timeline.history],
        result=_result(timeline.history, run.engine.workload, timing, weights, workload.steps_made),
        resources=resources,
        price=schema.Price(**place.price.model_dump()),
        limits=schema.Limits(**place.limits.model_dump()),
    )


def _of(source: Any, *names: str) -> dict[str, Any]:
    """What the record calls as `source` does."""
    return {name: getattr(source, name) for name in names}


def _engine(run: Run, facts: EngineFacts) -> schema.EngineRecord:
    return schema.EngineRecord(
        name=run.settings.engine.name,
        version=run.engine.version,
        **_of(facts, "framework", "framework_version", "backend", "precision"),
        **_of(facts, "compile", "deterministic"),
        division=cast(Any, run.division),
        switches=dict(facts.switches),
        kernels=list(facts.kernels),
        environment=dict(run.platform.environment),
        deviations_from_defaults=list(facts.deviations_from_defaults),
    )


def _workload(run: Run, epochs_ended: int) -> schema.WorkloadRecord:
    workload = run.engine.workload
    network, dataset = workload.network, workload.dataset
    found = deviations.deviations(run.settings, dataset.name)
    return schema.WorkloadRecord(
        model=network.name,
        **_of(network, "n_parameters", "flops_per_sample"),
        dataset=cast(Any, dataset.name),
        dataset_sha256=dataset.sha256,
        n_train=len(dataset.train_labels),
        n_test=len(dataset.test_labels),
        optimizer="adam",
        **_of(workload, "epochs", "batch_size", "learning_rate", "seed", "devices", "num_nodes"),
        scaling=run.settings.scaling,
        steps_made=_steps_made(run.engine, epochs_ended),
        standard=not found,
        deviations=found,
    )


def _steps_made(engine: Engine, epochs_ended: int) -> int:
    """As the optimizer counts them; of the epochs that ended where its device is lost."""
    try:
        return engine.steps_made()
    except Exception:  # frameworks raise their own kinds
        return epochs_ended * engine.workload.steps_per_epoch


def _timing(timeline: Timeline, segments: int, facts: EngineFacts) -> schema.Timing:
    totals_ns = timeline.stopwatch.totals_ns()
    seconds = {f"{phase}_s": totals_ns[phase] / NANOSECONDS_PER_SECOND for phase in PHASES}
    history = timeline.history
    waits_s = [row.data_wait_s for row in history if row.data_wait_s is not None]
    # over all epochs: a sum that leaves one out would be no wait of the run
    wait_s = sum(waits_s) if waits_s and len(waits_s) == len(history) else None
    why = facts.data_wait_hidden or "no epoch ended"
    return schema.Timing(
        total_s=sum(totals_ns.values()) / NANOSECONDS_PER_SECOND,
        first_epoch_s=history[0].train_s if history else None,
        steady_epoch_s=median(row.train_s for row in history[1:]) if len(history) > 1 else None,
        segments=segments,
        data_wait_s=wait_s,
        reasons={"data_wait_s": why} if wait_s is None else {},
        **cast(Any, seconds),
    )


def _result(
    history: Sequence[Epoch],
    workload: Workload,
    timing: schema.Timing,
    weights: Weights | None,
    steps_made: int,
) -> schema.Result:
    images, per_epoch = len(history) * len(workload.dataset.train_labels), workload.steps_per_epoch
    fewest = fewest_steps(len(history), per_epoch, workload.world_size, workload.precision)
    # an argument of the Trainer may leave batches out, and nobody counts what is in the others
    known = bool(history and timing.train_s and steps_made >= fewest)
    images_per_s = images / timing.train_s if known else None
    return schema.Result(
        # the last, as the protocol has it: to take the best would be to look at the test set
        test_accuracy=history[-1].test_accuracy if history else None,
        test_loss=history[-1].test_loss if history else None,
        weights_sha256=checkpoint.weights_sha256(weights) if weights is not None else None,
        images_per_s=images_per_s,
        flops_per_s=images_per_s * workload.network.flops_per_sample if images_per_s else None,
    )
