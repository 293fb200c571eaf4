"""What `engine=torch` and `engine=lightning` share: network, optimizer, resident data, steps."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from mnist_gpu.data import shares
from mnist_gpu.engines.facts import EngineFacts
from mnist_gpu.engines.torch import fused, graphs, layers, precision, tuning
from mnist_gpu.engines.torch.adam import Adam
from mnist_gpu.engines.torch.network import TorchNetwork
from mnist_gpu.engines.torch.peers import Peers
from mnist_gpu.measure import cpus
from mnist_gpu.protocol.dataset import normalise
from mnist_gpu.protocol.metrics import Metrics
from mnist_gpu.protocol.streams import dropout_seed
from mnist_gpu.protocol.workload import State, Weights, Workload

EVALUATION_BATCH = 500
# both divide the 938 steps of an epoch; where a step is short, what is done once a block shows
DEFAULT_STEPS, LIGHT_STEPS = 67, 469
LIGHT_FLOPS_PER_SAMPLE = 5_000_000


class Program:
    """Trains one workload on one device, many optimizer steps a call, without asking the device.

    Args:
        workload: what to train.
        settings: `conf/engine/torch.yaml` or `lightning.yaml`.
        device: where.
        peers: the processes it trains with, each on a device of its own.

    Raises:
        UserError: the device cannot do the precision.
    """

    def __init__(
        self,
        workload: Workload,
        settings: Mapping[str, Any],
        device: torch.device,
        peers: Peers | None = None,
    ) -> None:
        self.workload = workload
        self.device = device
        self.peers = peers or Peers()
        self.batch_size = workload.batch_size // self.peers.world
        self.precision = precision.prepare(workload.precision, device)
        self.tuning = tuning.prepare(
            settings.get("tuning") or {}, device, self.precision.products, self.peers.world == 1
        )
        torch.set_num_threads(max(1, cpus.threads() // self.peers.local_world))
        self.network = self._make_network().to(device)
        self.generators = [torch.Generator(device) for _ in workload.seeds]
        context = layers.Context(
            self.generators,
            self.precision.products,
            bool(self.tuning["onednn_linear"]),
            bool(self.tuning["dropout_bits"]),
            bool(self.tuning["first_convolution"]),
            bool(self.tuning["pooled_convolution"]),
            bool(self.tuning["sparse_linear"]),
            bool(self.tuning["output_layers"]),
        )
        self.training_pass = self.network.training_pass(context)
        ours = fused.used(self.training_pass)
        self.tuning.update(ours)
        self.evaluation_pass: list[layers.Step] = []
        if any(ours.values()):
            exact = replace(context, compute_dtype=self.precision.parameters)
            self.evaluation_pass = self.network.training_pass(exact, dropout=False)
        self.adam = Adam(
            dict(self.network.named_parameters()),
            workload.learning_rate,
            bool(self.tuning["fused_adam"]),
            self.precision.scaled,
        )
        self.tuning["onednn_linear"] = any(
            isinstance(step, layers.Linear) and step.onednn for step in self.training_pass
        )
        self.cross_entropy = self._make_loss()
        self._place_data()
        self._loss_sum = torch.zeros(
            self.shape_of_sums, dtype=self.precision.parameters, device=device
        )
        self._correct = torch.zeros(self.shape_of_sums, dtype=torch.int64, device=device)
        self._seen = 0
        capture = graphs.cuda_capture(self.generators) if self.tuning["cuda_graphs"] else None
        self._block = graphs.Blocks(self._make_steps, capture)

    def _make_network(self) -> Any:
        network = TorchNetwork(
            self.workload.network,
            self.precision.parameters,
            bool(self.tuning["relu_after_pool"]),
        )
        network.load(self.workload.initial_weights)
        return network

    def _make_loss(self) -> layers.Loss:
        return fused.loss_after(self.training_pass) or layers.CrossEntropy()

    @property
    def shape_of_sums(self) -> tuple[int, ...]:
        """Of the sums of losses and right answers: one number."""
        return ()

    @property
    def steps(self) -> int:
        """Optimizer steps in one execution."""
        light = self.workload.network.flops_per_sample < LIGHT_FLOPS_PER_SAMPLE
        return self.workload.steps_per_execution or (LIGHT_STEPS if light else DEFAULT_STEPS)

    def order(self, epoch: int) -> torch.Tensor:
        """The device's share of the order of `epoch` (from 1): (n / world,) int64, on the host."""
        whole = self.workload.order(epoch)
        size, peers = self.workload.batch_size, self.peers
        mine = whole if peers.world == 1 else shares.share(whole, size, peers.rank, peers.world)
        return torch.from_numpy(mine)

    def blocks(self, epoch: int) -> tuple[torch.Tensor, ...]:
        """The order of `epoch`, cut into what one execution takes."""
        return self.order(epoch).split(self.steps * self.batch_size, -1)

    def begin_epoch(self, epoch: int) -> None:
        """Restart the dropout stream for `epoch` (from 1)."""
        for generator, seed in zip(self.generators, self.workload.seeds, strict=True):
            generator.manual_seed(dropout_seed(seed, epoch, self.peers.rank))

    def run_steps(self, indices: torch.Tensor) -> None:
        """Make one optimizer step for every batch of `indices` ((n,) int64, on any device)."""
        self._block(indices.to(self.device, non_blocking=True))
        self._seen += indices.shape[-1]

    def take_metrics(self) -> Metrics:
        """Loss and accuracy over the steps since the last call; waits for the device."""
        loss_sum, correct, seen = self.peers.totals(
            self._loss_sum.item(), self._correct.item(), self._seen
        )
        metrics = Metrics(loss_sum / seen, correct / seen)
        self._loss_sum.zero_()
        self._correct.zero_()
        self._seen = 0
        return metrics

    @torch.inference_mode()
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (n, 10) of `images` (n, 1, 28, 28), dropout off, on the device."""
        return torch.cat([self._forward(batch) for batch in images.split(EVALUATION_BATCH)])

    @torch.inference_mode()
    def evaluate(self) -> Metrics:
        """Loss and accuracy over the test set, each image seen by one device."""
        part = self.peers.part(len(self.test_labels))
        logits, labels = self.logits(self.test_images[part]), self.test_labels[part]
        loss = F.cross_entropy(logits, labels).item() * len(labels)
        correct = (logits.argmax(1) == labels).sum().item()
        loss_sum, all_correct, n = self.peers.totals(loss, correct, len(labels))
        return Metrics(loss_sum / n, all_correct / n)

    def predict(self) -> npt.NDArray[np.float32]:
        """Logits over the whole test set, on the host: (10000, 10) float32."""
        return self.logits(self.test_images).float().cpu().numpy()

    def warm_up(self) -> None:
        """Make some steps, evaluate a batch, capture graphs, then put everything back."""
        before = self.state()
        self.begin_epoch(0)
        size, n = self.batch_size, len(self.train_labels) // self.peers.world
        block = self.steps * size
        some = self.order(0)
        enough = torch.arange(max(min(block, n), 2 * size)) % some.shape[-1]
        indices = some[..., enough].to(self.device)
        # the last batch may be smaller: kernels are chosen for both
        self._aside(lambda: self._make_steps(indices[..., : 2 * size + n % size]))
        lengths = {min(block, n - start) for start in range(0, n, block)}
        self._block.prepare(lengths, indices)
        self.logits(self.test_images[:EVALUATION_BATCH])
        self._loss_sum.zero_()
        self._correct.zero_()
        self.load_state(before)

    def member_accuracies(self) -> list[float]:
        """Of one seed alone: nothing beside the metrics."""
        return []

    def named_weights(self, weights: Weights) -> Weights:
        """The weights under the names in which they are saved."""
        return weights

    def state(self) -> State:
        """Weights and Adam's moments in PyTorch's layout, on the host."""
        state: State = {"adam_step": np.array(self.adam.steps_made, dtype=np.int64)}
        named = self.network.named_parameters()
        for (name, weight), m, v in zip(named, self.adam.means, self.adam.squares, strict=True):
            for kind, tensor in (("weights", weight), ("adam_m", m), ("adam_v", v)):
                state[f"{kind}/{name}"] = self.network.to_neutral(name, tensor)
        return state

    @torch.no_grad()
    def load_state(self, state: State) -> None:
        """Continue from `state`, in place."""

        def given(kind: str, name: str) -> torch.Tensor:
            return self.network.from_neutral(name, state[f"{kind}/{name}"])

        named = dict(self.network.named_parameters())
        for name, parameter in named.items():
            parameter.copy_(given("weights", name))
        moments = {name: (given("adam_m", name), given("adam_v", name)) for name in named}
        self.adam.load(int(state["adam_step"]), moments)

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)

    def facts(self) -> EngineFacts:
        """What the record says of this program."""
        return EngineFacts(
            framework="PyTorch",
            framework_version=torch.__version__,
            backend=self.device.type,
            precision=self.workload.precision,
            compile="CUDA graphs" if self._block.captured else "none",
            steps_per_execution=self.steps,
            accelerator=self.device.type,
            accelerator_name=accelerator_name(self.device),
            accelerator_count=self.peers.world,
            # cuDNN and the max-pool add up in any order
            deterministic=self.device.type == "cpu",
            tuning=self.tuning,
        )

    @torch.no_grad()
    def _make_steps(self, indices: torch.Tensor) -> None:
        for batch in indices.split(self.batch_size, -1):
            self._step(self.train_images[batch], self.train_labels[batch])

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.evaluation_pass:
            return self.network(x)
        for step in self.evaluation_pass:
            x = step.forward(x)
        return x

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        x = images
        for layer in self.training_pass:
            x = layer.forward(x)
        loss, right = self.cross_entropy.forward(x, labels)
        scale = self.adam.scale
        gradient: torch.Tensor | None = self.cross_entropy.backward(
            self._one if scale is None else scale
        )
        for layer in reversed(self.training_pass):
            if gradient is None:
                break
            gradient = layer.backward(gradient)
        self.peers.average(self.adam.parameters)
        self.adam.step()
        self._loss_sum.add_(loss, alpha=labels.shape[-1])
        self._correct += right

    def _aside(self, work: Callable[[], None]) -> None:
        """Do `work` on a stream of its own where the device has them: graphs ask for that."""
        if self.device.type != "cuda":
            work()
            return
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            work()
        torch.cuda.current_stream(self.device).wait_stream(stream)

    def _place_data(self) -> None:
        dataset = self.workload.dataset
        dtype = np.float64 if self.precision.parameters == torch.float64 else np.float32

        def images(array: npt.NDArray[np.uint8]) -> torch.Tensor:
            tensor = torch.from_numpy(normalise(array, dtype)).unsqueeze(1).to(self.device)
            return tensor.contiguous(memory_format=torch.channels_last)

        def labels(array: npt.NDArray[np.uint8]) -> torch.Tensor:
            return torch.from_numpy(array.astype(np.int64)).to(self.device)

        self.train_images, self.test_images = (
            images(dataset.train_images),
            images(dataset.test_images),
        )
        self.train_labels, self.test_labels = (
            labels(dataset.train_labels),
            labels(dataset.test_labels),
        )
        self._one = torch.ones((), dtype=self.precision.parameters, device=self.device)


def accelerator_name(device: torch.device) -> str:
    """What the device calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type
