"""The doctor, on machines that are made up and on this one."""

import re
import sys

import pytest

from mnist_gpu.checks import examine
from mnist_gpu.checks.machine import present_folder
from mnist_gpu.checks.software import computes
from mnist_gpu.paths import packaged
from tests.doctor_machines import BATTERY, FAIL, FAULTY, NO_LINK, SOUND, mac, stepping
from tests.machines import card, cpus, limited, patient, tree

SENTENCES = packaged("measure/data/doctor")


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


def test_one_of_a_kind_is_not_said_as_if_it_were_several(tmp_path):
    alone = {"files": {**cpus(1, "0"), **limited("100000")}, "busy": {"busy": 1}}
    machines = [
        alone,
        {"files": {**cpus(8, "0-7"), **limited("100000")}},
        {"clock_ns": stepping(1_000)},
        {"clock_ns": stepping(1_400_000)},
    ]
    for number, made in enumerate(machines):
        said = [one.says for one in examine(patient(tmp_path / str(number), **made))]
        assert not [
            line for line in said if re.search(r"(?<!\d)1 (CPU|core|thread|m\w+second)s", line)
        ]
    assert "Other programs use 1.0 of the 1 CPU here" in " ".join(
        one.says for one in examine(patient(tmp_path / "alone", **alone))
    )


def test_mnist_is_verified_where_it_is_named(tmp_path, mnist_dir):
    whole = patient(tmp_path / "1", environ={"MNIST_GPU_DATA": str(mnist_dir)}, **NO_LINK)
    assert faults(whole) == {}
    tree(tmp_path, {"data/train-images-idx3-ubyte": "broken"})
    broken = patient(tmp_path / "2", environ={"MNIST_GPU_DATA": str(tmp_path / "data")})
    assert faults(broken) == {"mnist_damaged": "fail"}


def test_a_variable_that_names_no_folder_is_named_itself(tmp_path):
    for value, said in (("/nowhere", "no such folder"), ("~nobody-here/x", "whose home folder")):
        machine = patient(tmp_path / said, environ={"MNIST_GPU_DATA": value}, **NO_LINK)
        [fault] = [one for one in examine(machine) if one.status != "ok"]
        assert fault.check == "mnist_damaged"
        assert fault.says.startswith(f"MNIST_GPU_DATA={value}: {said}")


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


def test_a_folder_that_is_gone_is_a_folder_without_room_for_results(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    machine = patient(tmp_path / "root", here=present_folder())
    assert faults(machine) == {"folder_results_closed": "fail"}
