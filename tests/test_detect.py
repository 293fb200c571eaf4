"""Where a run finds itself: containers, virtual machines and platforms, all made up."""

from dataclasses import replace

import pytest

import mnist_gpu
from mnist_gpu import engines
from mnist_gpu.measure import detect, signals
from mnist_gpu.paths import choices, shipped
from tests import faulty
from tests.machines import tree

# --- containers and virtual machines ------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({}, None),
        ({".dockerenv": ""}, "docker"),
        ({"proc/self/cgroup": "1:cpu:/docker/12ab"}, "docker"),
        ({"proc/1/cgroup": "1:cpu:/kubepods/besteffort"}, "kubernetes"),
        ({"run/.containerenv": ""}, "podman"),
        ({".singularity.d/runscript": ""}, "apptainer"),
        ({"run/systemd/container": "lxc\n"}, "lxc"),
        ({"sys/class/dmi/id/product_name": "OpenStack Nova"}, "OpenStack"),
        ({"sys/class/dmi/id/sys_vendor": "QEMU", ".dockerenv": ""}, "docker, QEMU"),
        ({"sys/class/dmi/id/product_name": "Google Compute Engine"}, "Google Compute Engine"),
        ({"sys/class/dmi/id/product_name": "VMware Virtual Platform"}, "VMware"),
        (
            {
                "sys/class/dmi/id/sys_vendor": "Microsoft Corporation",
                "sys/class/dmi/id/product_name": "Virtual Machine",
            },
            "Hyper-V",
        ),
        ({"sys/class/dmi/id/sys_vendor": "Microsoft Corporation"}, None),
        ({"sys/class/dmi/id/sys_vendor": "Amazon EC2"}, "Amazon EC2"),
        (
            {
                "sys/class/dmi/id/sys_vendor": "Amazon EC2",
                "sys/class/dmi/id/product_name": "c5.metal",
            },
            None,
        ),
        ({"proc/sys/kernel/osrelease": "5.15.90-microsoft-standard-WSL2"}, "WSL"),
        ({"proc/cpuinfo": "flags : fpu hypervisor lahf_lm"}, "virtual machine"),
    ],
)
def test_containers_and_virtual_machines_are_known_by_their_traces(tmp_path, files, kind):
    assert detect.virtualisation(tree(tmp_path, files), {}, lambda name: None) == kind


def test_a_pod_and_a_virtual_mac_are_known_without_files(tmp_path):
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    mac = {"kern.hv_vmm_present": "1"}
    assert detect.virtualisation(tmp_path, pod, mac.get) == "kubernetes, Apple Virtualization"


def systemd_says(monkeypatch, folder, machine, container):
    program = folder / "bin/systemd-detect-virt"
    cases = f"--vm) echo {machine};; --container) echo {container};;"
    tree(folder, {"bin/systemd-detect-virt": f'#!/bin/sh\ncase "$1" in {cases} esac\n'})
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(detect, "ROOT", folder)
    return detect.virtualisation(folder, {}, lambda name: None)


@pytest.mark.parametrize(
    ("machine", "container", "kind"),
    [
        ("bhyve", "none", "bhyve"),
        ("none", "none", None),
        ("powervm", "rkt", "rkt, powervm"),
    ],
)
def test_what_leaves_no_trace_is_asked_of_systemd(monkeypatch, tmp_path, machine, container, kind):
    assert systemd_says(monkeypatch, tmp_path, machine, container) == kind


def test_our_own_names_come_before_systemds(monkeypatch, tmp_path):
    tree(tmp_path, {"sys/class/dmi/id/product_name": "OpenStack Nova", ".dockerenv": ""})
    assert systemd_says(monkeypatch, tmp_path, "kvm", "podman") == "docker, OpenStack"


# --- platforms ----------------------------------------------------------------------------------


def found(environ=(), root=None, tmp_path=None, chip=None, http_get=None):
    def sysctl(name: str):
        return {"machdep.cpu.brand_string": chip}.get(name)

    return detect.detect(dict(environ), root or tmp_path, sysctl, http_get)


def test_kaggle_is_known_although_it_carries_colabs_tag(tmp_path):
    here = found(
        {"KAGGLE_KERNEL_RUN_TYPE": "Batch", "COLAB_RELEASE_TAG": "release"}, tmp_path=tmp_path
    )
    assert (here.front, here.host) == ("kaggle", "kaggle")
    assert here.signals["KAGGLE_KERNEL_RUN_TYPE"] == "Batch"


def test_colab_jupyterhub_and_slurm_are_known_by_their_variables(tmp_path):
    assert found({"COLAB_RELEASE_TAG": "x"}, tmp_path=tmp_path).front == "colab"
    assert found({"SLURM_JOB_ID": "17"}, tmp_path=tmp_path).front == "slurm"
    hub = found({"JUPYTERHUB_USER": "ada", "JUPYTERHUB_API_TOKEN": "secret"}, tmp_path=tmp_path)
    assert hub.front == "jupyterhub"
    assert "ada" not in str(hub.signals)
    assert "secret" not in str(hub.signals)


def test_a_hub_on_jetstream_is_both(tmp_path):
    root = tree(tmp_path, {"sys/class/dmi/id/product_name": "OpenStack Nova\n"})
    here = found(
        {"JUPYTERHUB_USER": "ada"},
        root,
        http_get=lambda url: '{"name": "secret-name", "meta": {"mnist_gpu_flavor": "g3.xl"}}',
    )
    assert (here.front, here.host) == ("jupyterhub", "jetstream")
    assert here.signals["flavor"] == "g3.xl"
    assert "secret-name" not in str(here.signals)


def test_metadata_is_asked_for_only_on_openstack(tmp_path):
    def never(url: str) -> str:
        raise AssertionError("asked the network")

    assert found({}, tmp_path=tmp_path, http_get=never).host == "none"


def test_an_openstack_that_does_not_answer_is_still_openstack(tmp_path):
    def silent(url: str) -> str:
        raise TimeoutError

    root = tree(tmp_path, {"sys/class/dmi/id/sys_vendor": "OpenStack Foundation"})
    assert found({}, root, http_get=silent).host == "openstack"


@pytest.mark.parametrize(
    ("chip", "verified"),
    [("Apple M1", True), ("Apple M1 Pro", False), ("Apple M1 (Virtual)", False), ("", False)],
)
def test_an_m1_is_known_by_its_exact_brand(tmp_path, chip, verified):
    here = found({}, tmp_path=tmp_path, chip=chip)
    assert signals.matches({"chip": "Apple M1"}, here, "mps") is verified


def test_a_rule_about_the_gpu_looks_at_its_name(tmp_path):
    here = found({"COLAB_RELEASE_TAG": "x"}, tmp_path=tmp_path)
    rule = {"host": "colab", "gpu_contains": "T4"}
    assert signals.matches(rule, here, "Tesla T4")
    assert not signals.matches(rule, here, "NVIDIA A100")
    assert not signals.matches({"planet": "mars"}, here, "Tesla T4")
    assert not signals.matches(None, here, "Tesla T4")


def test_auto_takes_the_platform_that_asks_for_most(tmp_path):
    known = {name: shipped(f"platform/{name}") for name in choices("platform")}
    kaggle = found({"KAGGLE_URL_BASE": "x"}, tmp_path=tmp_path)
    assert signals.choose(known, kaggle) == "kaggle"
    assert signals.choose(known, found({}, tmp_path=tmp_path, chip="Apple M1")) == "m1"
    assert signals.choose(known, found({}, tmp_path=tmp_path)) == "cpu"


@pytest.mark.parametrize(
    ("environ", "trains", "platform"),
    [
        ({}, ("cuda", "NVIDIA H200"), "cuda"),
        ({}, ("cpu", None), "cpu"),
        ({"COLAB_RELEASE_TAG": "x"}, ("cuda", "Tesla T4"), "colab_t4"),
        ({"COLAB_RELEASE_TAG": "x"}, ("cpu", None), "colab"),
        # a place is what it is, whatever trains there
        ({"KAGGLE_URL_BASE": "x"}, ("cuda", "Tesla P100-PCIE-16GB"), "kaggle"),
    ],
)
def test_auto_takes_the_platform_of_what_trains(tmp_path, environ, trains, platform):
    known = {name: shipped(f"platform/{name}") for name in choices("platform")}
    assert signals.choose(known, found(environ, tmp_path=tmp_path), *trains) == platform


def test_a_run_that_takes_what_there_is_is_named_after_what_trains(tmp_path, digits, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engines, "find", engines.find)
    engine = faulty.installed()
    on_cpu = engine.facts
    gpu = {"accelerator": "cuda", "accelerator_name": "NVIDIA H200"}
    engine.facts = lambda self: replace(on_cpu(self), **gpu)
    asked = ["platform=auto", "engine=torch", "model=mlp", "epochs=1", "logger=none"]
    record = mnist_gpu.run([*asked, *digits])
    assert (record.platform.name, record.platform.claimed) == ("cuda", "auto")
    assert (record.platform.label, record.platform.verified) == ("NVIDIA GPU", True)
