"""The doctor, on machines that are made up and on this one."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_gpu import doctor
from mnist_gpu.checks import examine
from mnist_gpu.checks.finding import COLOURS, found, show
from mnist_gpu.checks.machine import answers, present_folder
from mnist_gpu.checks.software import computes
from mnist_gpu.paths import packaged
from mnist_gpu.system import output_of
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
    show(examine(machine))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    starts = [line[:4].strip() for line in lines if line[:4].strip() in COLOURS]
    assert starts == sorted(starts, key=list(COLOURS).index)
    assert starts[-2:] == ["warn", "fail"]
    assert "Mend what failed first" in " ".join(lines)


@pytest.mark.parametrize("columns", [20, 1, 0])
def test_a_terminal_of_hardly_any_columns_is_written_to_as_one_of_thirty(
    tmp_path, monkeypatch, capsys, columns
):
    monkeypatch.setenv("COLUMNS", str(columns))
    show([found("rosetta"), found("metal")])
    lines = capsys.readouterr().out.splitlines()
    assert 20 < max(map(len, lines)) <= (30 if columns else 80)
    assert lines[0].startswith("ok    GPU through Metal")
    assert "1 ok, 0 warn, 1 fail." in " ".join(lines)


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


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ([], ("lightning", "auto")),
        (["platform=jupyterhub"], ("keras", "jupyterhub")),
        (["engine=torch", "platform=colab_t4"], ("torch", "colab_t4")),
    ],
)
def test_the_engine_is_the_one_that_a_run_on_the_platform_would_have(
    given, asked, capsys, monkeypatch
):
    seen = []
    monkeypatch.setattr(
        "mnist_gpu.checks.examine", lambda machine, deep: seen.append(machine) or []
    )
    assert doctor.main([*given, "--json"]) == 0
    assert (seen[0].engine, seen[0].platform_name) == asked
    report = json.loads(capsys.readouterr().out)
    assert (report["engine"], report["platform"]) == asked


def test_a_folder_that_is_gone_is_a_folder_without_room_for_results(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    machine = patient(tmp_path / "root", here=present_folder())
    assert faults(machine) == {"folder_results_closed": "fail"}


@pytest.mark.parametrize("given", ["", "--json"])
def test_who_reads_no_further_changes_no_exit_code(tmp_path, given):
    command = f"{shlex.quote(sys.executable)} -m mnist_gpu.doctor {given}"
    root = str(Path(__file__).parents[1])

    def code(line: str) -> int:
        whole = f"cd {shlex.quote(str(tmp_path))}; {line}; exit ${{PIPESTATUS[0]}}"
        environ = {**os.environ, "PYTHONPATH": root}
        return subprocess.run(
            ["bash", "-c", whole], env=environ, capture_output=True, check=False
        ).returncode

    read = code(command)
    assert [code(f"{command} {reader}") for reader in ("| head -1", ">/dev/full", ">&-")] == [
        read
    ] * 3


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
