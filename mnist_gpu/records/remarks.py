"""Where a run's time went, in a sentence or two: from what was measured alone."""

from mnist_gpu.numbers import counted, duration
from mnist_gpu.records.facts import facts
from mnist_gpu.records.run import column
from mnist_gpu.records.schema import Record

# a device that is busy for less than this waits for the host most of the time
HALF_BUSY_PERCENT = 50


def remarks(record: Record) -> list[str]:
    """What the record's own readings say; nothing of what was not measured."""
    timing, used = record.timing, record.resources
    found = []
    if timing.data_wait_s is not None and timing.train_s:
        found.append(waited(f"{100 * timing.data_wait_s / timing.train_s:.0f} %", record))
    if used.gpu_percent is not None:
        busy = f"the GPU was busy {used.gpu_percent:.0f} % of the time"
        if used.gpu_percent < HALF_BUSY_PERCENT:
            batch = f"a batch of {record.workload.batch_size}"
            busy += f": it is done with {batch} long before the host brings the next"
        found.append(busy)
    found += _pipeline_waits(record)
    found += _tuned(record)
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
            f"{100 * (1 - timing.train_s / timing.total_s):.0f} % of the run was not training,"
            f" most of it {most}: {before[most]:.1f} s"
        )
    return found


def unverified(record: Record) -> list[str]:
    """That the machine is not seen to be what the run was asked for as, if so."""
    if record.platform.verified:
        return []
    return [f"this machine is not seen to be what was asked for: {record.platform.label}"]


def waited(share: str, record: Record) -> str:
    """How much of training went by while the host had no next batch, for people.

    An accelerator may still compute what it was given before: of that nothing was measured.
    """
    if record.hardware.accelerator == "cpu":
        return f"{share} of training waited for data"
    return f"the host waited for data {share} of training, whatever the GPU did meanwhile"


def _pipeline_waits(record: Record) -> list[str]:
    """How many epochs ended in a wait for the thread that tunes TensorFlow's data pipeline.

    It wakes at known instants after an epoch's beginning; an epoch that is longer than others and
    ends at one of them has waited for it.
    """
    known = facts("engines")["autotune"]
    engine, times_s = record.engine, column(record, "train_s")
    if engine.backend != known["backend"] or engine.switches.get(known["switch"]) or not times_s:
        return []
    wakes_s, sleep_s = [known["first_sleep_s"]], known["first_sleep_s"]
    while wakes_s[-1] < max(times_s):
        sleep_s = min(2 * sleep_s, known["longest_sleep_s"])
        wakes_s.append(wakes_s[-1] + sleep_s)
    shortest_s, slack_s = min(times_s), known["slack_s"]
    waited_s = [
        seconds - shortest_s
        for seconds in times_s
        if seconds > 1.05 * shortest_s and any(0 <= seconds - at_s < slack_s for at_s in wakes_s)
    ]
    if not waited_s:
        return []
    return [
        f"{len(waited_s)} of {counted(len(times_s), 'epoch')} ended in a wait for TensorFlow's data"
        f" pipeline, {duration(sum(waited_s))} in all: engine.switches.{known['switch']}=true"
        " leaves it out"
    ]


def _tuned(record: Record) -> list[str]:
    """What `division=tuned` brought on this kind of device, to a stock run of the standard
    network."""
    engine, workload = record.engine, record.workload
    by_device = facts("tuned")["times_as_fast"].get(engine.name, {})
    measured = by_device.get(record.hardware.accelerator)
    if measured is None or engine.division != "stock" or not workload.standard:
        return []
    return [
        f"{measured['times']:g} times as fast with division=tuned, measured on"
        f" {measured['hardware']} ({measured['as_of']})"
    ]
