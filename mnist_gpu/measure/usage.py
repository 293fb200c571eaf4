"""From counters and samples to the record's `resources`, over one segment or several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from mnist_gpu.measure.readings import Resources

FOREIGN_LIMIT_PERCENT = 10.0  # of one CPU, and
FOREIGN_LIMIT_SHARE = 0.02  # of all that the run may use
STOLEN_LIMIT_SHARE = 0.01
THROTTLED_LIMIT_SHARE = 0.01
# the timing is still right after a step of the wall clock; the instants beside it are not
STEP_LIMIT_S = 2.0
SUSPENDED_LIMIT_S = 1.0
# counters of CPU time advance in steps of 10 ms: over 8 ms a step reads as more CPUs than there are
SHORTEST_S = 0.25
SHORTEST_FOREIGN_S = 1.0
TOO_SHORT = "too short to tell"
MOST_WARNINGS = 20
SUMS = ("energy_j", "throttled_s", "suspended_s")
PEAKS = ("rss_peak_mib", "gpu_memory_peak_mib")
MEANS = ("cpu_percent", "gpu_percent", "gpu_power_w", "foreign_cpu_percent")

# a value or, in words, why there is none
Reading = float | str


@dataclass
class Seen:
    """What was read beside a run."""

    n_cpus: int = 1  # that the run may use
    # by how much each counter advanced, in seconds or times; one that could not be read at both
    # ends is not there
    passed: dict[str, float] = field(default_factory=dict)
    # by name: what each sample read
    levels: dict[str, list[float]] = field(default_factory=dict)
    # by counter or level: why it could not be read
    reasons: dict[str, str] = field(default_factory=dict)
    samples: int = 0
    slowed: int = 0  # samples in which heat or power held the GPU back
    others: int = 0  # other processes that computed on the GPU at once
    on_battery: bool = False


def summarise(seen: Seen, energy: Reading, energy_source: str | None) -> Resources:
    """The record's part, of one segment."""
    suspended, step_s = _sleep(seen)
    own = _own_percent(seen)
    readings: dict[str, Reading] = {
        "cpu_percent": own,
        "foreign_cpu_percent": _foreign_percent(seen, own),
        "rss_peak_mib": _level(seen, "rss_mib", max),
        "gpu_percent": _level(seen, "gpu_percent", fmean),
        "gpu_memory_peak_mib": _level(seen, "gpu_memory_mib", max),
        "gpu_power_w": _level(seen, "gpu_power_w", fmean),
        "energy_j": energy,
        "throttled_s": seen.passed.get("throttled_s", "no cgroup counts it"),
        "suspended_s": suspended,
    }
    # two counters that are read one after the other may differ by less than nothing
    known = {name: max(0.0, one) for name, one in readings.items() if not isinstance(one, str)}
    return Resources(
        energy_source=energy_source if "energy_j" in known else None,
        samples=seen.samples,
        warnings=_warnings(seen, known, step_s),
        reasons={name: one for name, one in readings.items() if isinstance(one, str)},
        **{name: round(known[name], 3) if name in known else None for name in readings},
    )


def _own_percent(seen: Seen) -> Reading:
    """CPU time of the run, as a percentage of one CPU."""
    awake_s, own_s = seen.passed.get("awake_s"), seen.passed.get("own_cpu_s")
    if not awake_s or own_s is None:
        return seen.reasons.get("own_cpu_s", "not measured")
    return TOO_SHORT if awake_s < SHORTEST_S else own_s / awake_s * 100


def _foreign_percent(seen: Seen, own: Reading) -> Reading:
    """CPU time of other processes, on the CPUs that the run may use."""
    passed, unsaid = seen.passed, "the system does not say how busy its CPUs are"
    if isinstance(own, str) or "busy_cpu_s" not in passed:
        return seen.reasons.get("busy_cpu_s", own if isinstance(own, str) else unsaid)
    if passed["awake_s"] < SHORTEST_FOREIGN_S:
        return TOO_SHORT
    if passed["busy_cpu_s"] < passed["own_cpu_s"] / 2:
        # sandboxes (gVisor) show counters that stand still
        return "the system's counters do not include this run"
    return max(0.0, passed["busy_cpu_s"] - passed["own_cpu_s"]) / passed["awake_s"] * 100


def _level(seen: Seen, name: str, reduce: Callable[[Sequence[float]], float]) -> Reading:
    if name in seen.levels:
        return reduce(seen.levels[name])
    return seen.reasons.get(name, "could not be read" if seen.samples else "too short to sample")


def _sleep(seen: Seen) -> tuple[Reading, float]:
    """Seconds asleep, and seconds that the wall clock was moved by.

    Three clocks tell: one that stands still while the machine sleeps (it times the run), one that
    goes on and that nobody can set, and the wall clock. clock_gettime(2) of Linux, clock_gettime(3)
    of macOS. Without the second, a step of the wall clock reads as sleep.
    """
    awake_s, boot_s, wall_s = (seen.passed.get(name) for name in ("awake_s", "boot_s", "wall_s"))
    went_on_s = wall_s if boot_s is None else boot_s
    if awake_s is None or went_on_s is None:
        return "not measured", 0.0
    return max(0.0, went_on_s - awake_s), 0.0 if wall_s is None else wall_s - went_on_s


def _warnings(seen: Seen, known: dict[str, float], step_s: float) -> list[str]:
    """What casts doubt on the timing, a sentence each."""
    passed, n_cpus = seen.passed, seen.n_cpus
    awake_s, slowdowns = passed.get("awake_s", 0.0), passed.get("slowdowns", 0)
    foreign, throttled_s, suspended_s = (
        known.get(name, 0.0) for name in ("foreign_cpu_percent", "throttled_s", "suspended_s")
    )
    # where the counters leave this run out, they know nothing of a hypervisor either
    counted = "foreign_cpu_percent" in known
    stolen = passed.get("stolen_cpu_s", 0.0) / awake_s * 100 if counted else 0.0
    of = f"the {n_cpus} CPUs that this run may use" if n_cpus > 1 else "the only CPU of this run"
    asleep = "was asleep" if "boot_s" in passed else "was asleep, or its clock was set,"
    processes = "process" if seen.others == 1 else "processes"
    most = max(FOREIGN_LIMIT_PERCENT, FOREIGN_LIMIT_SHARE * n_cpus * 100)
    holds = {
        f"other processes used {foreign:.0f} % of a CPU, on {of}": foreign > most,
        f"the hypervisor kept back {stolen:.0f} % of a CPU, of {of}": (
            stolen > STOLEN_LIMIT_SHARE * n_cpus * 100
        ),
        f"the container's CPU quota held the run's CPUs back for {throttled_s:.1f} s in all": (
            throttled_s > THROTTLED_LIMIT_SHARE * awake_s
        ),
        f"the machine {asleep} for {suspended_s:.0f} s": suspended_s > SUSPENDED_LIMIT_S,
        f"the wall clock was moved by {step_s:+.0f} s, or the virtual machine stood still": (
            abs(step_s) > STEP_LIMIT_S
        ),
        f"heat slowed the processor down {slowdowns:.0f} times": slowdowns > 0,
        f"heat or power slowed the GPU down in {seen.slowed} of {seen.samples} samples": (
            seen.slowed > 0
        ),
        f"{seen.others} other {processes} computed on the GPU": seen.others > 0,
        "the machine ran on its battery": seen.on_battery,
    }
    return [line for line, true in holds.items() if true]


def combine(before: Resources, now: Resources) -> Resources:
    """What the segments of a resumed run used together.

    Sums need every segment; means are weighted by the number of samples; peaks take the highest
    known.
    """
    values: dict[str, float | None] = {}
    reasons = {}
    for name in (*SUMS, *MEANS, *PEAKS):
        values[name] = _together(name, before, now)
        if values[name] is None:
            why = now.reasons.get(name) or before.reasons.get(name) or "not measured"
            in_one = getattr(before, name) is not None or getattr(now, name) is not None
            reasons[name] = f"not in every segment: {why}"[:300] if in_one else why
    if values["energy_j"] is not None and before.energy_source != now.energy_source:
        values["energy_j"], reasons["energy_j"] = None, "segments with different energy counters"
    return Resources(
        energy_source=now.energy_source if values["energy_j"] is not None else None,
        samples=before.samples + now.samples,
        warnings=list(dict.fromkeys([*before.warnings, *now.warnings]))[:MOST_WARNINGS],
        reasons=reasons,
        **values,
    )


def _together(name: str, before: Resources, now: Resources) -> float | None:
    parts = [(getattr(part, name), part.samples) for part in (before, now)]
    known = [(value, samples) for value, samples in parts if value is not None]
    if name in PEAKS:
        return max((value for value, _ in known), default=None)
    if name in SUMS:
        return sum(value for value, _ in known) if len(known) == len(parts) else None
    if not known or any(value is None and samples for value, samples in parts):
        return None
    # a segment too short for a sample still has a share worked out of counters
    return fmean([value for value, _ in known], [max(samples, 0.5) for _, samples in known])
