"""What a whole run would take, by the pieces of a shorter one: `estimate.json`."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from mnist_gpu import files
from mnist_gpu.errors import UserError
from mnist_gpu.protocol import standard
from mnist_gpu.records.estimate import Estimate, Span
from mnist_gpu.records.remarks import (
    longest_pipeline_wait_s,
    may_wait,
    share_waiting,
    unverified,
)
from mnist_gpu.records.schema import Record
from mnist_gpu.timing.pieces import Pieces, extrapolate

NAME = "estimate.json"


def estimate_of(record: Record, pieces: Pieces, epochs: int, after_s: float) -> Estimate:
    """What a run like that of `record` takes with `epochs` epochs, by the pieces of its training
    and the seconds after each epoch, of evaluation and checkpoint.

    Raises:
        UserError: too little was trained.
    """
    longest_s = partial(longest_pipeline_wait_s, record.engine)
    try:
        train = extrapolate(
            pieces.pieces, pieces.steps_per_epoch, epochs, longest_s, share_waiting()
        )
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
        # an estimate beside other work is as doubtful as a run beside it
        warnings=[*unverified(record), *record.resources.warnings, *[may_wait()] * train.waits],
    )


def of_run(record: Record, pieces: Pieces) -> Estimate:
    """What the standard run takes here, by a shorter one that has ended."""
    after_s = (record.timing.eval_s + record.timing.checkpoint_s) / max(1, len(record.epochs))
    return estimate_of(record, pieces, int(standard.protocol()["standard"]["epochs"]), after_s)


def write(estimate: Estimate, folder: Path) -> Path:
    """Leave `estimate.json` in the run's folder; OSError where it cannot be written."""
    path = folder / NAME
    # never over another: a folder may be named twice
    files.write_whole(path, (estimate.model_dump_json(indent=2) + "\n").encode(), new=True)
    return path
