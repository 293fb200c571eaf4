"""Seeds trained at once train as they would alone, and are never passed off as one run."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from mnist_gpu.engines.torch.ensemble import EnsembleProgram
from mnist_gpu.engines.torch.program import Program

import mnist_gpu
from mnist_gpu import data
from mnist_gpu.protocol.dataset import Dataset
from mnist_gpu.protocol.initial import initial_weights
from mnist_gpu.protocol.workload import Workload
from mnist_gpu.records.rules import check_files
from mnist_gpu.report.summary import summarise
from mnist_gpu.report.table import markdown
from tests.test_torch_engine import workload

CPU = torch.device("cpu")
SEEDS = (5, 6, 7)


@pytest.fixture(scope="module")
def dataset(mnist_dir):
    return data.load({"source": "mnist", "dir": str(mnist_dir)})


def cut(dataset: Dataset, n: int) -> Dataset:
    return Dataset(
        dataset.name,
        dataset.sha256,
        dataset.train_images[:n],
        dataset.train_labels[:n],
        dataset.test_images[:200],
        dataset.test_labels[:200],
    )


def of_seed(load: Workload, seed: int, members: int = 1) -> Workload:
    weights = initial_weights(load.network, seed)
    return replace(load, seed=seed, initial_weights=weights, ensemble=members)


def trained(program: Program, epochs: int = 1) -> dict:
    program.warm_up()
    for epoch in range(1, epochs + 1):
        program.begin_epoch(epoch)
        for block in program.blocks(epoch):
            program.run_steps(block)
    return {"metrics": program.take_metrics(), "test": program.evaluate(), **program.state()}


@pytest.mark.parametrize(
    ("model", "steps"), [("mlp", 100), pytest.param("cnn", 12, marks=pytest.mark.slow)]
)
def test_in_float64_every_member_is_its_single_run_dropout_included(dataset, model, steps):
    # the last batch is half a batch
    load = workload(cut(dataset, steps * 64 - 32), model, "float64", dropout=True)
    load = replace(load, steps_per_execution=7)
    together = EnsembleProgram(of_seed(load, SEEDS[0], len(SEEDS)), {}, CPU)
    all_at_once = trained(together)
    alone = [trained(Program(of_seed(load, seed), {}, CPU)) for seed in SEEDS]
    for name in (key for key in all_at_once if "/" in key):
        for member, single in enumerate(alone):
            distance = np.abs(all_at_once[name][member] - single[name]).max()
            assert distance <= 1e-9 * np.abs(single[name]).max(), (name, member)
    for part in ("metrics", "test"):
        mean = np.mean([single[part].loss for single in alone])
        assert all_at_once[part].loss == pytest.approx(mean, rel=1e-9)
    assert together.member_accuracies() == [single["test"].accuracy for single in alone]


def test_members_differ_and_their_weights_are_saved_by_seed(dataset):
    load = of_seed(workload(cut(dataset, 640), "mlp"), 3, 2)
    program = EnsembleProgram(load, {}, CPU)
    state = trained(program)
    weights = program.named_weights(
        {k.removeprefix("weights/"): v for k, v in state.items() if k.startswith("weights/")}
    )
    assert set(weights) == {
        f"seed{seed}/fc{layer}.{kind}"
        for seed in (3, 4)
        for layer in (1, 2)
        for kind in ("weight", "bias")
    }
    assert not np.array_equal(weights["seed3/fc1.weight"], weights["seed4/fc1.weight"])


def test_a_warm_up_of_an_ensemble_changes_nothing(dataset):
    program = EnsembleProgram(of_seed(workload(cut(dataset, 640), "mlp"), 0, 2), {}, CPU)
    before = program.state()
    program.warm_up()
    for name, array in program.state().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.slow
def test_the_record_of_an_ensemble_is_a_throughput_and_no_single_runs_time(
    tmp_path, monkeypatch, mnist_dir
):
    monkeypatch.setenv("MNIST_GPU_DATA", str(mnist_dir))
    monkeypatch.chdir(tmp_path)
    record = mnist_gpu.run(["platform=cpu", "model=mlp", "epochs=2", "ensemble=4", "seed=1"])
    assert record.ensemble.seeds == [1, 2, 3, 4]
    assert len(set(record.ensemble.test_accuracy)) > 1
    assert min(record.ensemble.test_accuracy) > 0.93
    assert "ensemble 4 (standard: 1)" in record.workload.deviations
    images = record.timing.train_s * record.result.images_per_s
    assert images == pytest.approx(2 * 4 * 60_000)
    verdict = check_files(["outputs"])
    assert verdict.faults == []
    table = markdown(summarise(verdict.accepted))
    [row] = [line for line in table.splitlines() if "seeds at once" in line]
    assert "lightning, 4 seeds at once" in row
    assert f"{record.result.images_per_s:,.0f} images/s" in row


@pytest.mark.slow
def test_an_ensemble_that_is_resumed_ends_with_the_same_weights(tmp_path, monkeypatch, mnist_dir):
    monkeypatch.setenv("MNIST_GPU_DATA", str(mnist_dir))
    monkeypatch.chdir(tmp_path)
    overrides = ["platform=cpu", "model=mlp", "epochs=3", "ensemble=2", "engine=torch"]
    undisturbed = mnist_gpu.run(overrides)
    command = [sys.executable, "-m", "mnist_gpu.train", *overrides, "platform.name=again"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("epoch 1/3"):
            break
    process.kill()
    process.communicate()
    [stopped] = tmp_path.glob("outputs/again/*")
    resumed = mnist_gpu.run([*overrides, "platform.name=again", f"resume={stopped}"])
    assert resumed.timing.segments == 2
    assert resumed.result.weights_sha256 == undisturbed.result.weights_sha256


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["ensemble=2", "engine=keras"], "ensemble=2: engine=keras trains one seed"),
        (["ensemble=2", "precision=16-mixed"], "has one loss scale for all"),
        (["ensemble=0"], "ensemble=0: a whole number from 1"),
        (["ensemble=2", "seed=4294967295"], "would pass 2"),
    ],
)
def test_what_an_ensemble_cannot_do_is_refused(overrides, said):
    from mnist_gpu.config.compose import check, compose_config
    from mnist_gpu.errors import UserError

    with pytest.raises(UserError) as refused:
        check(compose_config(overrides))
    assert said in str(refused.value)
