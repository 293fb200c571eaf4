"""Where a run's time went, in a sentence or two: from what was measured alone."""

from bisect import bisect
from collections.abc import Sequence
from functools import cache

from mnist_gpu.numbers import counted, duration
from mnist_gpu.records.facts import facts
from mnist_gpu.records.run import column
from mnist_gpu.records.schema import EngineRecord, Record

# a device that is busy for less than this waits for the host most of the time
HALF_BUSY_PERCENT = 50
# an epoch that takes this many times as long as the shortest has waited for something; shorter
# waits may be a machine's own unevenness
LONGER = 1.2


def remarks(record: Record) -> list[str]:
    """What the record's own readings say; nothing of what was not measured."""
    timing, used = record.timing, record.resources
    found = []
    # null is unknown, and not a wait of 0
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
        parts = {
            "starting Python and its libraries": timing.startup_s,
            "data": timing.data_s,
            "building": timing.build_s,
            "warming up": timing.warmup_s,
            "evaluating": timing.eval_s,
            "checkpoints": timing.checkpoint_s,
            "everything else": timing.other_s,
        }
        most = max(parts, key=lambda what: parts[what])
        found.append(
            f"{100 * (1 - timing.train_s / timing.total_s):.0f} % of the run was not training,"
            f" the largest part {most}: {parts[most]:.1f} s"
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


def pipeline_waits_s(engine: EngineRecord, times_s: Sequence[float]) -> list[float]:
    """How much longer than the shortest each epoch took that ended in a wait for the thread that
    tunes TensorFlow's data pipeline.

    The thread wakes at known instants after an epoch's beginning: a longer epoch that ends at one
    of them has waited for it. docs/estimate.md has more.
    """
    if not _tunes(engine) or not times_s:
        return []
    known, wakes_s, shortest_s = facts("engines")["autotune"], _wakes_s(), min(times_s)
    found = []
    for seconds in times_s:
        if seconds <= LONGER * shortest_s:
            continue
        woke_s = wakes_s[bisect(wakes_s, seconds) - 1]
        # where these instants are close together, an epoch ends at one of them by chance
        if woke_s > known["rare_from_s"] and seconds - woke_s < known["slack_s"]:
            found.append(seconds - shortest_s)
    return found


def longest_pipeline_wait_s(engine: EngineRecord, epoch_s: float) -> float:
    """How long an epoch of so many seconds may wait at its end for that thread: until it wakes."""
    wakes_s = _wakes_s()
    next_one = bisect(wakes_s, epoch_s)
    return wakes_s[next_one] - epoch_s if _tunes(engine) and next_one < len(wakes_s) else 0.0


def share_waiting() -> float:
    """The share of epochs that end in such a wait, by what this project's runs have seen."""
    seen: dict[str, int] = facts("engines")["autotune"]["seen"]
    return seen["waited"] / seen["epochs"]


def may_wait() -> str:
    """What to say of an estimate in which such waits count that it has not seen."""
    seen = facts("engines")["autotune"]["seen"]
    return (
        f"epochs may end in a wait for TensorFlow's data pipeline, as {seen['waited']} of"
        f" {seen['epochs']} measured ones did; the time allows for that, and the longest has every"
        f" epoch wait; {_left_out()}"
    )


def _tunes(engine: EngineRecord) -> bool:
    """Whether a thread tunes the engine's data pipeline."""
    known = facts("engines")["autotune"]
    return engine.backend == known["backend"] and not engine.switches.get(known["switch"])


def _left_out() -> str:
    return f"engine.switches.{facts('engines')['autotune']['switch']}=true leaves it out"


@cache
def _wakes_s() -> list[float]:
    """When the thread wakes after an epoch's beginning."""
    known = facts("engines")["autotune"]
    sleep_s, wakes_s = known["first_sleep_s"], [0.0]
    while wakes_s[-1] < known["watched_s"]:
        wakes_s.append(wakes_s[-1] + sleep_s)
        sleep_s = min(2 * sleep_s, known["longest_sleep_s"])
    return wakes_s


def _pipeline_waits(record: Record) -> list[str]:
    waited_s = pipeline_waits_s(record.engine, column(record, "train_s"))
    if not waited_s:
        return []
    epochs = counted(len(record.epochs), "epoch")
    return [
        f"{len(waited_s)} of {epochs} ended in a wait for TensorFlow's data pipeline,"
        f" {duration(sum(waited_s))} in all: {_left_out()}"
    ]


def _tuned(record: Record) -> list[str]:
    """What `division=tuned` brought on this kind of device, to a stock run of the standard
    network."""
    engine, workload = record.engine, record.workload
    # measured on a machine that is named: another may differ
    by_device = facts("tuned")["times_as_fast"].get(engine.name, {})
    measured = by_device.get(record.hardware.accelerator)
    if measured is None or engine.division != "stock" or not workload.standard:
        return []
    return [
        f"{measured['times']:g} times as fast with division=tuned, measured on"
        f" {measured['hardware']} ({measured['as_of']})"
    ]
