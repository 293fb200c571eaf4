"""What `engine=torch` and `engine=lightning` are both made of, chosen for one run."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import TensorDataset

from mnist_gpu.engines.base import EngineOptions
from mnist_gpu.engines.switches import Value
from mnist_gpu.engines.torch import precision, tuning
from mnist_gpu.engines.torch.data import EVALUATION_BATCH, tensors
from mnist_gpu.engines.torch.network import MNISTNetwork, build_network
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.workload import EngineFacts, Metrics, Workload

DEVIATIONS = (
    "batches come in the protocol's order (a sampler instead of shuffle=True)",
    "initial weights are drawn from the seed in NumPy",
    "dropout's stream starts anew at every epoch, from seed and epoch",
)


@dataclass
class Parts:
    """The network on its device, the data in memory, and what was switched on.

    Attributes:
        device: of the network.
        network: initial weights loaded.
        train, test: normalised images and labels, on the host.
        switches: that are on, with their values.
        kernels: names of this project's own kernels in the network.
    """

    device: torch.device
    network: MNISTNetwork
    train: TensorDataset
    test: TensorDataset
    switches: dict[str, Value]
    kernels: list[str]


def make_parts(
    workload: Workload, options: EngineOptions, engine: str, device: torch.device
) -> Parts:
    """Build everything on `device`.

    Raises:
        UserError: a switch, a division or a precision that is not to be had there.
    """
    precision.prepare(workload.precision, device)
    switches = tuning.choose(options, engine, device, workload.world_size)
    tuning.prepare_process(switches)
    network, kernels = _network(workload, options, device)
    dtype = precision.parameter_dtype(workload.precision)
    network.to(device, dtype)
    network.load(workload.initial_weights)
    tuning.prepare_network(switches, network)
    dataset = workload.dataset
    return Parts(
        device,
        network,
        tensors(dataset.train_images, dataset.train_labels),
        tensors(dataset.test_images, dataset.test_labels),
        switches,
        kernels,
    )


def _network(
    workload: Workload, options: EngineOptions, device: torch.device
) -> tuple[MNISTNetwork, list[str]]:
    if options.division != "open":
        return build_network(workload.network), []
    from mnist_gpu.engines.torch.kernels.network import build_open_network

    if device.type != "cpu" or workload.world_size > 1:
        raise UserError(
            "division=open: this project's kernels are for one Linux CPU;"
            " use division=tuned or division=stock"
        )
    network = build_open_network(
        workload.network,
        precision.parameter_dtype(workload.precision),
        workload.precision == "bf16-mixed",
    )
    return network, network.kernels


@torch.no_grad()
def logits(network: torch.nn.Module, test: TensorDataset, device: torch.device) -> Tensor:
    """Logits (n, 10) of the whole test set, dropout off, on the device."""
    was_training = network.training
    network.eval()
    dtype = next(network.parameters()).dtype
    images = test.tensors[0]
    found = torch.cat(
        [network(batch.to(device, dtype)) for batch in images.split(EVALUATION_BATCH)]
    )
    network.train(was_training)
    return found


def evaluate(network: torch.nn.Module, test: TensorDataset, device: torch.device) -> Metrics:
    """Mean loss and accuracy over the whole test set."""
    found, labels = logits(network, test, device), test.tensors[1].to(device)
    correct = (found.argmax(1) == labels).sum().item()
    return Metrics(F.cross_entropy(found, labels).item(), correct / len(labels))


def predict(
    network: torch.nn.Module, test: TensorDataset, device: torch.device
) -> npt.NDArray[np.float32]:
    """Logits over the test set, on the host: (10000, 10) float32."""
    return logits(network, test, device).float().cpu().numpy()


def synchronise(device: torch.device) -> None:
    """Return once the device has finished all work handed to it."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def accelerator_name(device: torch.device) -> str:
    """What the device calls itself."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def facts(made: Parts, workload: Workload, framework: str, version: str) -> EngineFacts:
    """What the record says of an engine made of these parts."""
    device = made.device
    return EngineFacts(
        framework=framework,
        framework_version=version,
        backend=f"torch {torch.__version__}" if framework != "PyTorch" else device.type,
        precision=workload.precision,
        accelerator=device.type,
        accelerator_name=accelerator_name(device),
        accelerator_count=workload.world_size,
        threads=torch.get_num_threads(),
        compile="torch.compile" if made.switches.get("compile") else "none",
        # cuDNN and the max-pool add up in any order
        deterministic=device.type == "cpu",
        switches=made.switches,
        kernels=made.kernels,
        deviations_from_defaults=[*DEVIATIONS, *precision.deviations(workload.precision, device)],
    )
