"""What `engine=torch` and `engine=lightning` share: network, optimizer, resident data, steps."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from mnist_gpu.data.dataset import normalise
from mnist_gpu.data.order import dropout_seed
from mnist_gpu.engines.base import EngineFacts, Metrics, State, Workload
from mnist_gpu.engines.torch import graphs, layers, precision, tuning
from mnist_gpu.engines.torch.adam import Adam
from mnist_gpu.engines.torch.network import TorchNetwork
from mnist_gpu.measure import cpus

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

    Raises:
        UserError: the device cannot do the precision.
    """

    def __init__(
        self, workload: Workload, settings: Mapping[str, Any], device: torch.device
    ) -> None:
        self.workload = workload
        self.device = device
        self.precision = precision.prepare(workload.precision, device)
        self.tuning = tuning.prepare(settings.get("tuning") or {}, device, self.precision.products)
        torch.set_num_threads(cpus.threads())
        self.network = TorchNetwork(
            workload.network, self.precision.parameters, bool(self.tuning["relu_after_pool"])
        ).to(device)
        self.network.load(workload.initial_weights)
        self.adam = Adam(
            dict(self.network.named_parameters()),
            workload.learning_rate,
            bool(self.tuning["fused_adam"]),
            self.precision.scaled,
        )
        self.generator = torch.Generator(device)
        context = layers.Context(
            self.generator,
            self.precision.products,
            bool(self.tuning["onednn_linear"]),
            bool(self.tuning["dropout_bits"]),
        )
        self.training_pass = self.network.training_pass(context)
        self.cross_entropy = layers.CrossEntropy()
        self._place_data()
        self._loss_sum = torch.zeros((), dtype=self.precision.parameters, device=device)
        self._correct = torch.zeros((), dtype=torch.int64, device=device)
        self._seen = 0
        capture = graphs.cuda_capture(self.generator) if self.tuning["cuda_graphs"] else None
        self._block = graphs.Blocks(self._make_steps, capture)

    @property
    def steps(self) -> int:
        """Optimizer steps in one execution."""
        light = self.workload.network.flops_per_sample < LIGHT_FLOPS_PER_SAMPLE
        return self.workload.steps_per_execution or (LIGHT_STEPS if light else DEFAULT_STEPS)

    def begin_epoch(self, epoch: int) -> None:
        """Restart the dropout stream for `epoch` (from 1)."""
        self.generator.manual_seed(dropout_seed(self.workload.seed, epoch))

    def run_steps(self, indices: torch.Tensor) -> None:
        """Make one optimizer step for every 64 of `indices` ((n,) int64, on any device)."""
        self._block(indices.to(self.device, non_blocking=True))
        self._seen += len(indices)

    def take_metrics(self) -> Metrics:
        """Loss and accuracy over the steps since the last call; waits for the device."""
        metrics = Metrics(self._loss_sum.item() / self._seen, self._correct.item() / self._seen)
        self._loss_sum.zero_()
        self._correct.zero_()
        self._seen = 0
        return metrics

    @torch.inference_mode()
    def logits(self) -> torch.Tensor:
        """Logits over the test set, dropout off: (10000, 10) on the device."""
        batches = self.test_images.split(EVALUATION_BATCH)
        return torch.cat([self.network(batch) for batch in batches])

    @torch.inference_mode()
    def evaluate(self) -> Metrics:
        """Loss and accuracy over the test set."""
        logits = self.logits()
        loss = F.cross_entropy(logits, self.test_labels)
        correct = (logits.argmax(1) == self.test_labels).sum()
        return Metrics(loss.item(), correct.item() / len(self.test_labels))

    def predict(self) -> npt.NDArray[np.float32]:
        """Logits over the test set, on the host: (10000, 10) float32."""
        return self.logits().float().cpu().numpy()

    def warm_up(self) -> None:
        """Make some steps, evaluate a batch, capture graphs, then put everything back."""
        before = self.state()
        self.begin_epoch(0)
        size, n = self.workload.batch_size, len(self.train_labels)
        block = self.steps * size
        indices = torch.arange(max(min(block, n), 2 * size), device=self.device) % n
        # the last batch may be smaller: kernels are chosen for both
        self._aside(lambda: self._make_steps(indices[: 2 * size + n % size]))
        lengths = {min(block, n - start) for start in range(0, n, block)}
        self._block.prepare(lengths, indices)
        with torch.inference_mode():
            self.network(self.test_images[:EVALUATION_BATCH])
        self._loss_sum.zero_()
        self._correct.zero_()
        self.load_state(before)

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
            # cuDNN and the max-pool add up in any order
            deterministic=self.device.type == "cpu",
            tuning=self.tuning,
        )

    @torch.no_grad()
    def _make_steps(self, indices: torch.Tensor) -> None:
        size = self.workload.batch_size
        for batch in indices.split(size):
            self._step(self.train_images[batch], self.train_labels[batch])

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        x = images
        for layer in self.training_pass:
            x = layer.forward(x)
        loss = self.cross_entropy.forward(x, labels)
        scale = self.adam.scale
        gradient: torch.Tensor | None = self.cross_entropy.backward(
            self._one if scale is None else scale
        )
        for layer in reversed(self.training_pass):
            if gradient is None:
                break
            gradient = layer.backward(gradient)
        self.adam.step()
        self._loss_sum.add_(loss, alpha=len(labels))
        self._correct += (x.argmax(1) == labels).sum()

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
