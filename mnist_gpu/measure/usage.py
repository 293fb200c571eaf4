"""From counters and samples to the record's `resources`, over one segment or several."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mnist_gpu.records.schema import Resources

FOREIGN_LIMIT_PERCENT = 10.0  # of one CPU, and
FOREIGN_LIMIT_SHARE = 0.02  # of all that the run may use
STOLEN_LIMIT_SHARE = 0.01
THROTTLED_LIMIT_SHARE = 0.01
# counters of CPU time advance in steps of 10 ms: over 8 ms a step reads as more CPUs than there are
SHORTEST_S = 0.25
SHORTEST_FOREIGN_S = 1.0
TOO_SHORT = "too short to tell"
MOST_WARNINGS = 20
SUMS = ("energy_j", "throttled_s", "suspended_s")
PEAKS = ("rss_peak_mib", "gpu_memory_peak_mib")
MEANS = ("cpu_percent", "gpu_percent", "gpu_power_w", "foreign_cpu_percent")


@dataclass
class Shares:
    """Percentages of one CPU, worked out of seconds.

    Attributes:
        own: this run's.
        foreign: other processes', on the CPUs this run may use.
        stolen: kept back by the hypervisor.
        reasons: by field of the record, why there is none.
    """

    own: float | None = None
    foreign: float | None = None
    stolen: float | None = None
    reasons: dict[str, str] = field(default_factory=dict)


def shares(passed: Mapping[str, float], reasons: Mapping[str, str]) -> Shares:
    """Work out who used the CPUs.

    Args:
        passed: by how much each counter advanced: `awake_s`, `own_cpu_s`, `busy_cpu_s`,
            `stolen_cpu_s`; a counter that could not be read is not there.
        reasons: why not, by counter.
    """
    awake_s, own_s, busy_s = (passed.get(n) for n in ("awake_s", "own_cpu_s", "busy_cpu_s"))
    found = Shares()
    if not awake_s or own_s is None:
        found.reasons["cpu_percent"] = reasons.get("own_cpu_s", "not measured")
    elif awake_s < SHORTEST_S:
        found.reasons["cpu_percent"] = TOO_SHORT
    else:
        found.own = own_s / awake_s * 100
    if not awake_s or own_s is None or busy_s is None:
        found.reasons["foreign_cpu_percent"] = (
            reasons.get("busy_cpu_s")
            or found.reasons.get("cpu_percent")
            or "the system does not say how busy its CPUs are"
        )
    elif awake_s < SHORTEST_FOREIGN_S:
        found.reasons["foreign_cpu_percent"] = TOO_SHORT
    elif busy_s < own_s / 2:
        # sandboxes (gVisor) show counters that stand still
        found.reasons["foreign_cpu_percent"] = "the system's counters do not include this run"
    else:
        found.foreign = max(0.0, busy_s - own_s) / awake_s * 100
        found.stolen = passed.get("stolen_cpu_s", 0.0) / awake_s * 100
    return found


def load_warnings(found: Shares, n_cpus: int) -> list[str]:
    """Sentences on CPUs that were not the run's alone."""
    warnings = []
    most = max(FOREIGN_LIMIT_PERCENT, FOREIGN_LIMIT_SHARE * n_cpus * 100)
    of = f"the {n_cpus} CPUs that this run may use" if n_cpus > 1 else "the only CPU of this run"
    if found.foreign is not None and found.foreign > most:
        warnings.append(f"other processes used {found.foreign:.0f} % of a CPU, on {of}")
    if found.stolen is not None and found.stolen > STOLEN_LIMIT_SHARE * n_cpus * 100:
        warnings.append(f"the hypervisor kept back {found.stolen:.0f} % of a CPU, of {of}")
    return warnings


def throttling_warnings(throttled_s: float | None, awake_s: float) -> list[str]:
    """A sentence on a CPU quota that was used up."""
    if throttled_s is None or throttled_s <= THROTTLED_LIMIT_SHARE * awake_s:
        return []
    return [f"the container's CPU quota held the run's CPUs back for {throttled_s:.1f} s in all"]


def combine(before: Resources, now: Resources) -> Resources:
    """What the segments of a resumed run used together.

    Sums need every segment; means are weighted by the number of samples; peaks take the highest
    known.
    """
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for name in (*SUMS, *MEANS, *PEAKS):
        earlier, later = getattr(before, name), getattr(now, name)
        known = [value for value in (earlier, later) if value is not None]
        whole = len(known) == 2
        if name in PEAKS:
            values[name] = max(known, default=None)
        elif name in SUMS:
            values[name] = sum(known) if whole else None
        else:
            values[name] = _mean(before, now, earlier, later)
        if values[name] is None:
            reasons[name] = now.reasons.get(name) or before.reasons.get(name) or "not measured"
            if known:
                reasons[name] = f"not in every segment: {reasons[name]}"[:300]
    source = now.energy_source
    if values["energy_j"] is not None and before.energy_source != source:
        values["energy_j"], reasons["energy_j"] = None, "segments with different energy counters"
    warnings = list(dict.fromkeys([*before.warnings, *now.warnings]))[:MOST_WARNINGS]
    return Resources(
        energy_source=source if values["energy_j"] is not None else None,
        samples=before.samples + now.samples,
        warnings=warnings,
        reasons=reasons,
        **values,
    )


def _mean(
    before: Resources, now: Resources, earlier: float | None, later: float | None
) -> float | None:
    parts = [(earlier, before.samples), (later, now.samples)]
    if any(value is None and samples for value, samples in parts):
        return None
    # a segment too short for a sample still has a share worked out of counters
    known = [(value, max(samples, 0.5)) for value, samples in parts if value is not None]
    if not known:
        return None
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known)
