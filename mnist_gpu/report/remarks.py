"""Where a run's time went, in a sentence or two: from what was measured alone."""

from mnist_gpu.records.schema import Record

# a device that is busy for less than this waits for the host most of the time
HALF_BUSY_PERCENT = 50


def remarks(record: Record) -> list[str]:
    """What the record's own readings say; nothing of what was not measured."""
    timing, used = record.timing, record.resources
    found = []
    if timing.data_wait_s is not None and timing.train_s:
        found.append(f"{timing.data_wait_s / timing.train_s:.0%} of training waited for data")
    if used.gpu_percent is not None:
        busy = f"the GPU was busy {used.gpu_percent:.0f} % of the time"
        if used.gpu_percent < HALF_BUSY_PERCENT:
            busy += f": batches of {record.workload.batch_size} are too small to fill it"
        found.append(busy)
    if record.epochs and timing.train_s < timing.total_s / 2:
        before = {
            "starting Python and its libraries": timing.startup_s,
            "data": timing.data_s,
            "building": timing.build_s,
            "warming up": timing.warmup_s,
            "evaluating": timing.eval_s,
            "checkpoints": timing.checkpoint_s,
        }
        most = max(before, key=lambda what: before[what])
        found.append(
            f"{1 - timing.train_s / timing.total_s:.0%} of the run was not training,"
            f" most of it {most}: {before[most]:.1f} s"
        )
    return found
