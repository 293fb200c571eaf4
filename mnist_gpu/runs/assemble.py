"""The record of a run, put together from what everybody knows of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any, cast

from mnist_gpu.config import deviations
from mnist_gpu.config.compose import platforms
from mnist_gpu.config.settings import PlatformSettings, Settings
from mnist_gpu.engines.base import Engine
from mnist_gpu.measure import detect, environment, hardware, influences
from mnist_gpu.protocol.workload import EngineFacts, Weights, Workload
from mnist_gpu.records import signals
from mnist_gpu.records.acceptable import harmless
from mnist_gpu.records.schema import (
    DatasetName,
    Division,
    EngineRecord,
    EpochRecord,
    Limits,
    Platform,
    Precision,
    Price,
    Record,
    Resources,
    Result,
    Status,
    Timing,
    WorkloadRecord,
)
from mnist_gpu.runs import checkpoint
from mnist_gpu.timing.stopwatch import NANOSECONDS_PER_SECOND, PHASES
from mnist_gpu.timing.timeline import Epoch, Timeline


@dataclass(frozen=True)
class PlatformFacts:
    """What was asked for and what was found.

    Attributes:
        chosen: the platform configuration that counts: the one asked for, or for `auto` the one
            that detection chose.
        detection: every signal.
    """

    chosen: PlatformSettings
    detection: signals.Detection
    claimed: str


def detect_platform(settings: Settings) -> PlatformFacts:
    """Look around; with `platform=auto`, find the platform whose rule the signals fit best."""
    detection = detect.detect()
    claimed = settings.platform.name
    chosen = settings.platform
    if claimed == "auto":
        known = platforms()
        rules = {name: entry.rule for name, entry in known.items()}
        found = signals.choose(rules, detection)
        if found in known:
            chosen = known[found]
    return PlatformFacts(chosen, detection, claimed)


def record(
    settings: Settings,
    platform: PlatformFacts,
    engine: Engine,
    timeline: Timeline,
    resources: Resources,
    status: Status,
    reason: str | None,
    run_id: str,
    segments: int,
    weights: Weights | None,
) -> Record:
    """Put the record together; the total is read now, so call it last."""
    facts = engine.facts()
    hardware_part = hardware.read(facts)
    software_part = environment.read()
    platform_part = _platform(platform, facts)
    # the clock is read last: everything above is part of the whole
    timing = _timing(timeline, segments, facts)
    return Record(
        schema_version=2,
        protocol_version=1,
        run_id=run_id,
        created_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        status=status,
        status_reason=None if reason is None else harmless(reason),
        platform=platform_part,
        engine=_engine(settings, engine, facts, platform),
        hardware=hardware_part,
        software=software_part,
        workload=_workload(settings, engine, len(timeline.history)),
        timing=timing,
        epochs=[EpochRecord(**asdict(row)) for row in timeline.history],
        result=_result(timeline.history, engine.workload, timing, weights),
        resources=resources,
        price=_price(platform.chosen),
        limits=_limits(platform.chosen),
    )


def _platform(platform: PlatformFacts, facts: EngineFacts) -> Platform:
    chosen, detection = platform.chosen, platform.detection
    return Platform(
        name=chosen.name,
        label=chosen.label,
        kind=chosen.kind,
        claimed=platform.claimed,
        detected=detection.name,
        verified=signals.matches(chosen.rule, detection, facts.accelerator_name),
        signals=detection.signals,
    )


def division(settings: Settings, facts: EngineFacts, platform: PlatformFacts) -> str:
    """The division of a run, worked out from what is on."""
    return facts.division(_environment(settings, platform))


def _environment(settings: Settings, platform: PlatformFacts) -> dict[str, str]:
    return influences.speed_environment(
        image=influences.image_defaults(platform.detection.front), uses=settings.engine.uses
    )


def _engine(
    settings: Settings, engine: Engine, facts: EngineFacts, platform: PlatformFacts
) -> EngineRecord:
    environment = _environment(settings, platform)
    return EngineRecord(
        name=settings.engine.name,
        version=engine.version,
        framework=facts.framework,
        framework_version=facts.framework_version,
        backend=facts.backend,
        precision=cast(Precision, facts.precision),
        compile=facts.compile,
        deterministic=facts.deterministic,
        division=cast(Division, facts.division(environment)),
        switches=dict(facts.switches),
        kernels=list(facts.kernels),
        environment=environment,
        deviations_from_defaults=list(facts.deviations_from_defaults),
    )


def _workload(settings: Settings, engine: Engine, epochs_ended: int) -> WorkloadRecord:
    workload = engine.workload
    found = deviations.deviations(settings, workload.dataset.name)
    return WorkloadRecord(
        model=workload.network.name,
        n_parameters=workload.network.n_parameters,
        flops_per_sample=workload.network.flops_per_sample,
        dataset=cast(DatasetName, workload.dataset.name),
        dataset_sha256=workload.dataset.sha256,
        n_train=len(workload.dataset.train_labels),
        n_test=len(workload.dataset.test_labels),
        epochs=workload.epochs,
        batch_size=workload.batch_size,
        optimizer="adam",
        learning_rate=workload.learning_rate,
        seed=workload.seed,
        devices=workload.devices,
        num_nodes=workload.num_nodes,
        scaling=cast(Any, settings.scaling),
        steps_made=_steps_made(engine, epochs_ended),
        standard=not found,
        deviations=found,
    )


def _steps_made(engine: Engine, epochs_ended: int) -> int:
    """As the optimizer counts them; of the epochs that ended where its device is lost."""
    try:
        return engine.steps_made()
    except Exception:  # frameworks raise their own kinds
        return epochs_ended * engine.workload.steps_per_epoch


def _timing(timeline: Timeline, segments: int, facts: EngineFacts) -> Timing:
    totals_ns = timeline.stopwatch.totals_ns()
    seconds = {f"{phase}_s": totals_ns[phase] / NANOSECONDS_PER_SECOND for phase in PHASES}
    history = timeline.history
    wait_s = data_wait_s(history)
    return Timing(
        total_s=sum(totals_ns.values()) / NANOSECONDS_PER_SECOND,
        first_epoch_s=history[0].train_s if history else None,
        steady_epoch_s=median(row.train_s for row in history[1:]) if len(history) > 1 else None,
        segments=segments,
        data_wait_s=wait_s,
        reasons={"data_wait_s": facts.data_wait_hidden or "no epoch ended"}
        if wait_s is None
        else {},
        **cast(Any, seconds),
    )


def data_wait_s(history: Sequence[Epoch]) -> float | None:
    """Seconds that the host waited for batches, over all epochs; None if one does not say."""
    waits = [row.data_wait_s for row in history]
    known = [wait for wait in waits if wait is not None]
    return sum(known) if known and len(known) == len(waits) else None


def _result(
    history: Sequence[Epoch], workload: Workload, timing: Timing, weights: Weights | None
) -> Result:
    images = len(history) * len(workload.dataset.train_labels)
    images_per_s = images / timing.train_s if history and timing.train_s else None
    return Result(
        test_accuracy=history[-1].test_accuracy if history else None,
        test_loss=history[-1].test_loss if history else None,
        weights_sha256=checkpoint.weights_sha256(weights) if weights is not None else None,
        images_per_s=images_per_s,
        flops_per_s=images_per_s * workload.network.flops_per_sample if images_per_s else None,
    )


def _price(chosen: PlatformSettings) -> Price:
    return Price(**chosen.price.model_dump())


def _limits(chosen: PlatformSettings) -> Limits:
    return Limits(**chosen.limits.model_dump())
