"""Power and heat: is the machine set or held to be slower than it can be?"""

import re
from collections.abc import Iterator

from mnist_gpu.checks.finding import Finding, found
from mnist_gpu.checks.machine import Machine
from mnist_gpu.measure import cpus
from mnist_gpu.system import text

NEAR_LIMIT_C = 5
HELD_BELOW = 0.9
# with these drivers "powersave" is the name of the setting that adapts to the load
ADAPTING = ("intel_pstate", "amd-pstate-epp")
PRESSURE = "com.apple.system.thermalpressurelevel"


def mains(machine: Machine) -> Iterator[Finding]:
    """Is a laptop plugged in?"""
    if machine.mac:
        stated = machine.run("/usr/bin/pmset", "-g", "batt")
        on_battery = None if not stated else "'Battery Power'" in stated
    else:
        on_battery = _linux_on_battery(machine)
    if on_battery is not None:
        yield found("battery" if on_battery else "plugged_in")


def saving(machine: Machine) -> Iterator[Finding]:
    """Does a setting save energy at the cost of speed?"""
    if machine.mac:
        stated = machine.run("/usr/bin/pmset", "-g")
        if stated:
            saves = re.search(r"\blowpowermode\s+1", stated)
            yield found("low_power_mode" if saves else "full_speed")
        return
    if text(machine.root / "sys/firmware/acpi/platform_profile") in ("low-power", "quiet"):
        yield found("saving_profile")
    yield from _linux_frequency(machine)


def heat(machine: Machine) -> Iterator[Finding]:
    """Is it too hot to run at full speed?"""
    what = _mac_hot(machine) if machine.mac else _linux_hot(machine)
    if what:
        yield found("hot", what=what)


def _linux_on_battery(machine: Machine) -> bool | None:
    batteries, plugged_in = [], False
    for supply in (machine.root / "sys/class/power_supply").glob("*"):
        # the batteries of a mouse or a headset are of scope "Device"
        if text(supply / "type") == "Battery" and text(supply / "scope") != "Device":
            batteries.append(text(supply / "status"))
        plugged_in |= text(supply / "online") == "1"
    return "Discharging" in batteries and not plugged_in if batteries else None


def _linux_frequency(machine: Machine) -> Iterator[Finding]:
    first = next(iter(cpus.allowed(machine.root)), 0)
    policy = machine.root / f"sys/devices/system/cpu/cpu{first}/cpufreq"
    governor, driver = text(policy / "scaling_governor"), text(policy / "scaling_driver")
    made, held = text(policy / "cpuinfo_max_freq"), text(policy / "scaling_max_freq")
    economical = governor == "powersave" and not driver.startswith(ADAPTING)
    if economical or text(policy / "energy_performance_preference") == "power":
        yield found("saving_processor")
    elif made.isdigit() and held.isdigit() and int(held) < HELD_BELOW * int(made):
        yield found("held_below", held=f"{int(held) / 1e6:.1f}", made=f"{int(made) / 1e6:.1f}")
    elif governor:
        yield found("full_speed")


def _mac_hot(machine: Machine) -> str:
    # `notifyutil -g NAME` prints the name and a level, 0 for none
    pressure = re.search(r"\s(\d+)$", machine.run("/usr/bin/notifyutil", "-g", PRESSURE) or "")
    if pressure and pressure[1] != "0":
        return "macOS says that the Mac is too warm."
    stated = machine.run("/usr/bin/pmset", "-g", "therm") or ""
    limit = re.search(r"CPU_Speed_Limit\s*=\s*(\d+)", stated)
    if limit and int(limit[1]) < 100:
        return f"Heat holds the processor at {limit[1]} % of its speed."
    return ""


def _linux_hot(machine: Machine) -> str:
    for trip in sorted(
        (machine.root / "sys/class/thermal").glob("thermal_zone*/trip_point_*_type")
    ):
        now = text(trip.with_name("temp"))
        limit = text(trip.with_name(trip.name.replace("_type", "_temp")))
        if text(trip) in ("hot", "critical") and now.isdigit() and limit.isdigit():
            now_c, limit_c = int(now) / 1000, int(limit) / 1000
            if 0 < limit_c - NEAR_LIMIT_C < now_c:
                return f"A part of the machine is at {now_c:.0f} °C; its limit is {limit_c:.0f} °C."
    return ""
