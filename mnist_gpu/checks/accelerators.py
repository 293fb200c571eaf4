"""GPUs of NVIDIA's and Apple's: is there one, can this Python and PyTorch use it, is it free?"""

from collections.abc import Iterator

from packaging.version import Version

from mnist_gpu.checks.finding import Finding, found
from mnist_gpu.checks.machine import Machine
from mnist_gpu.checks.software import fits
from mnist_gpu.measure.gpus import misfits
from mnist_gpu.numbers import counted
from mnist_gpu.paths import packaged
from mnist_gpu.system import text

NVIDIA = "0x10de"
DISPLAY = "0x03"  # the PCI class of all that may draw, GPUs that only compute included
BUSY_PERCENT = 10
LEAST_FREE_MIB = 2048
CUDA_OF_TORCH = r"^cuda\b[^=]*= '([\d.]+)'"


def python(machine: Machine) -> Iterator[Finding]:
    """Is this Python translated from Intel's instructions?"""
    if _apple_chip(machine):
        yield found("rosetta" if _translated(machine) else "python_native")


def macos(machine: Machine) -> Iterator[Finding]:
    """Is macOS new enough for the installed packages?"""
    release = machine.run("/usr/bin/sw_vers", "-productVersion") if machine.mac else None
    if not release:
        return
    too_old = [
        found("macos_too_old", release=release, version=version, needs=row["macos"], **row)
        for row in packaged("measure/data/packages")["macos"]
        if (version := machine.version(row["package"]))
        and fits(version, row["versions"])
        and Version(release) < Version(row["macos"])
    ]
    yield from too_old or [found("macos", release=release)]


def metal(machine: Machine) -> Iterator[Finding]:
    """Can PyTorch use the GPU, as far as can be told without importing it?"""
    asked = machine.asks_for("mps")
    status = "fail" if asked else None
    if asked and not machine.mac:
        yield found("no_metal_here", platform=machine.platform["name"])
    elif asked and not machine.pytorch and machine.engine != "mlx":
        yield found("no_metal_engine", engine=machine.engine)
    # a translated Python has a line of its own
    if not (machine.mac and machine.pytorch and machine.wants("mps")) or _translated(machine):
        return
    if not _apple_chip(machine):
        yield found("no_metal_intel", status)
    elif machine.environ.get("DISABLE_MPS") == "1":
        yield found("no_metal_variable", status)
    else:
        fallback = machine.environ.get("PYTORCH_ENABLE_MPS_FALLBACK") == "1"
        virtual = machine.sysctl("kern.hv_vmm_present") == "1"
        seen = {"metal_fallback": fallback, "metal_virtual": virtual}
        yield from map(found, [name for name, true in seen.items() if true] or ["metal"])
        version = machine.version("torch")
        for entry in packaged("measure/data/torch")["mps_wrong_results"]:
            if version and fits(version, entry["torch"]):
                yield found("metal_wrong", version=version, **entry)


def gpu(machine: Machine) -> Iterator[Finding]:
    """Is there a GPU, and does its driver answer?"""
    if machine.mac or not machine.wants("cuda"):
        return
    card, why = machine.gpu
    asked = machine.asks_for("cuda")
    visible = machine.environ.get("CUDA_VISIBLE_DEVICES", "0")
    if card is not None:
        name = card.read("name") or "An NVIDIA GPU"
        yield found("gpu", gpu=name, driver=card.read("driver") or "unknown")
        if "GRID" in name or "MIG" in name or visible.startswith("MIG-"):
            yield found("gpu_share", gpu=name)
    elif "mismatch" in why:
        yield found("gpu_driver_replaced")
    elif visible.split(",")[0].strip() in ("", "-1"):
        if _on_bus(machine) or asked:
            yield found("gpu_hidden", "fail" if asked else None)
    elif smi := machine.run("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"):
        name = smi.splitlines()[0]
        yield found("gpu_unread", gpu=name, why=why.removeprefix("NVML: "))
    elif _on_bus(machine):
        yield found("gpu_without_driver")
    elif asked:
        yield found("gpu_missing", platform=machine.platform["name"])


def torch_build(machine: Machine) -> Iterator[Finding]:
    """Do PyTorch, the driver and the GPU fit each other?"""
    card, version = machine.gpu[0], machine.version("torch")
    if card is None or version is None or not machine.pytorch:
        return
    cuda = machine.stated("torch", "torch/version.py", CUDA_OF_TORCH)
    if not cuda:
        yield found("torch_without_cuda", version=version)
        return
    against = misfits(card, cuda, version=version)
    for one in against:
        instead = f', or take an older PyTorch (pip install "torch{one.torch}")'
        words = {"cuda": cuda, "version": version, "needs": one.needed, one.what: one.stated}
        name = "driver_too_old" if one.what == "driver" else "gpu_too_old"
        yield found(name, instead=instead if one.torch else "", **words)
    if not against:
        yield found("torch_fits", version=version, cuda=cuda)


def load(machine: Machine) -> Iterator[Finding]:
    """Does anything else use the GPU, and is it held back?"""
    card, _ = machine.gpu
    if card is None:
        return
    busy, free_mib = card.read("gpu_percent"), card.read("gpu_memory_free_mib")
    programs = len(card.read("processes") or [])
    seen = []
    if busy is not None and busy > BUSY_PERCENT:
        seen.append(f"it is {busy:.0f} % busy")
    if programs:
        computes = "compute" if programs > 1 else "computes"
        seen.append(f"{counted(programs, 'other program')} {computes} on it")
    if free_mib is not None and free_mib < LEAST_FREE_MIB:
        seen.append(f"only {free_mib:.0f} MiB of its memory are free")
    if seen:
        yield found("gpu_busy", seen=" and ".join(seen))
    elif busy is not None:
        yield found("gpu_idle")
    if card.read("slowed"):
        yield found("gpu_slowed")


def _apple_chip(machine: Machine) -> bool:
    return (machine.sysctl("machdep.cpu.brand_string") or "").startswith("Apple")


def _translated(machine: Machine) -> bool:
    return _apple_chip(machine) and (
        machine.arch != "arm64" or machine.sysctl("sysctl.proc_translated") == "1"
    )


def _on_bus(machine: Machine) -> bool:
    """Whether a GPU of NVIDIA's is plugged in, with a driver or without."""
    return any(
        text(device / "vendor") == NVIDIA and text(device / "class").startswith(DISPLAY)
        for device in (machine.root / "sys/bus/pci/devices").glob("*")
    )
