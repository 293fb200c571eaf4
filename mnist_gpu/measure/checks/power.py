"""Power and heat: is the machine set to be slower than it can be?"""

import re
from collections.abc import Iterator

from mnist_gpu.measure import cpus
from mnist_gpu.measure.checks.finding import Finding, ok, warn
from mnist_gpu.measure.checks.machine import Machine
from mnist_gpu.measure.sources import text

SLOWER = "The processor is slower than it can be, or changes its speed in the middle of a run."
NEAR_LIMIT_C = 5
HELD_BELOW = 0.9


def mains(machine: Machine) -> Iterator[Finding]:
    """Is a laptop plugged in?"""
    on_battery = _mac_on_battery(machine) if machine.mac else _linux_on_battery(machine)
    if on_battery:
        yield warn("Power", "The machine runs on its battery.", SLOWER, "Plug in the charger.")
    elif on_battery is False:
        yield ok("Power", "Plugged in.")


def saving(machine: Machine) -> Iterator[Finding]:
    """Does a setting save energy at the cost of speed?"""
    if machine.mac:
        stated = machine.run("/usr/bin/pmset", "-g") or ""
        if re.search(r"\blowpowermode\s+1", stated):
            yield warn(
                "Saving energy",
                "Low Power Mode is on.",
                SLOWER,
                "System Settings, Battery, Low Power Mode: Never.",
            )
        elif stated:
            yield ok("Saving energy", "Low Power Mode is off.")
        return
    yield from _linux_saving(machine)


def heat(machine: Machine) -> Iterator[Finding]:
    """Is it too hot to run at full speed?"""
    hot = _mac_hot(machine) if machine.mac else _linux_hot(machine)
    if hot:
        yield warn(
            "Heat",
            hot,
            "The processor is slowed down to stay whole, more and more during a run.",
            "Let it cool down, let air reach it, and end other work.",
        )


def _mac_on_battery(machine: Machine) -> bool | None:
    stated = machine.run("/usr/bin/pmset", "-g", "batt")
    return None if not stated else "'Battery Power'" in stated


def _linux_on_battery(machine: Machine) -> bool | None:
    supplies = list((machine.root / "sys/class/power_supply").glob("*"))
    mains = [text(one / "online") for one in supplies if text(one / "type") in ("Mains", "USB")]
    batteries = [
        text(one / "status")
        for one in supplies
        # the batteries of a mouse or a headset are of scope "Device"
        if text(one / "type") == "Battery" and text(one / "scope") != "Device"
    ]
    if not batteries:
        return None
    return "Discharging" in batteries and "1" not in mains


def _linux_saving(machine: Machine) -> Iterator[Finding]:
    if text(machine.root / "sys/firmware/acpi/platform_profile") in ("low-power", "quiet"):
        yield warn(
            "Saving energy",
            "The machine's profile saves energy.",
            SLOWER,
            "powerprofilesctl set performance",
        )
    first = next(iter(cpus.allowed(machine.root)), 0)
    policy = machine.root / f"sys/devices/system/cpu/cpu{first}/cpufreq"
    governor, driver = text(policy / "scaling_governor"), text(policy / "scaling_driver")
    # with these drivers "powersave" is the name of the setting that adapts to the load
    adapts = driver.startswith(("intel_pstate", "amd-pstate-epp"))
    preference = text(policy / "energy_performance_preference")
    highest, held = text(policy / "cpuinfo_max_freq"), text(policy / "scaling_max_freq")
    if (governor == "powersave" and not adapts) or preference == "power":
        yield warn(
            "Saving energy",
            "The processor is set to its most economical speed.",
            SLOWER,
            "sudo cpupower frequency-set --governor performance",
        )
    elif highest.isdigit() and held.isdigit() and int(held) < HELD_BELOW * int(highest):
        yield warn(
            "Saving energy",
            f"The processor may run at {int(held) / 1e6:.1f} GHz at most; it is made for"
            f" {int(highest) / 1e6:.1f} GHz.",
            SLOWER,
            f"sudo cpupower frequency-set --max {int(highest) / 1e6:.1f}GHz",
        )
    elif governor:
        yield ok("Saving energy", "The processor may run at its full speed.")


def _mac_hot(machine: Machine) -> str:
    pressure = machine.run("/usr/bin/notifyutil", "-g", "com.apple.system.thermalpressurelevel")
    if pressure and pressure.split()[-1] not in ("0", "failed"):
        return "macOS says that the Mac is too warm."
    limit = re.search(
        r"CPU_Speed_Limit\s*=\s*(\d+)", machine.run("/usr/bin/pmset", "-g", "therm") or ""
    )
    if limit and int(limit[1]) < 100:
        return f"Heat holds the processor at {limit[1]} % of its speed."
    return ""


def _linux_hot(machine: Machine) -> str:
    for zone in sorted((machine.root / "sys/class/thermal").glob("thermal_zone*")):
        now = text(zone / "temp")
        for kind in zone.glob("trip_point_*_type"):
            limit = text(kind.with_name(kind.name.replace("_type", "_temp")))
            if text(kind) not in ("hot", "critical") or not (now.isdigit() and limit.isdigit()):
                continue
            now_c, limit_c = int(now) / 1000, int(limit) / 1000
            if limit_c > 0 and now_c > limit_c - NEAR_LIMIT_C:
                return f"A part of the machine is at {now_c:.0f} °C; its limit is {limit_c:.0f} °C."
    return ""
