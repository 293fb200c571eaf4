"""The accelerator that is here, Metal or any other, computes what the CPU computes."""

import numpy as np
import pytest
import torch

from mnist_gpu import data
from mnist_gpu.config.compose import check, compose_config
from mnist_gpu.engines.torch.program import Program
from mnist_gpu.protocol.initial import initial_weights
from mnist_gpu.protocol.network import Network
from mnist_gpu.protocol.workload import Workload

STEPS = 50


@pytest.fixture
def accelerator():
    if not torch.accelerator.is_available():
        pytest.skip("no accelerator here: needs Metal, CUDA or another that PyTorch knows")
    return torch.accelerator.current_accelerator()


@pytest.mark.parametrize("model", ["cnn", "mlp", "lenet5"])
def test_the_accelerator_trains_as_the_cpu_does(mnist_dir, accelerator, model):
    load = workload(mnist_dir, model)
    expected, reached = (train(load, device) for device in (torch.device("cpu"), accelerator))
    # float32 sums in another order differ in their last digits, and training amplifies that
    assert reached["losses"][:5] == pytest.approx(expected["losses"][:5], rel=1e-4)
    assert reached["losses"] == pytest.approx(expected["losses"], rel=2e-2)
    for name, weights in expected["weights"].items():
        difference = np.linalg.norm(reached["weights"][name] - weights)
        assert difference < 1e-2 * np.linalg.norm(weights), name


def workload(mnist_dir, model: str) -> Workload:
    settings = check(compose_config([f"model={model}"]))
    network = Network.from_config(model, settings.model.layers, dropout=False)
    dataset = data.load({"source": "mnist", "dir": str(mnist_dir)})
    return Workload(network, dataset, initial_weights(network, 0), precision="float32")


def train(load: Workload, device: torch.device) -> dict:
    program = Program(load, {}, device)
    program.warm_up()
    losses = []
    for batch in torch.from_numpy(load.order(1)).split(64)[:STEPS]:
        program.run_steps(batch)
        losses.append(program.take_metrics().loss)
    state = program.state()
    weights = {name: state[name] for name in state if name.startswith("weights/")}
    return {"losses": losses, "weights": weights}
