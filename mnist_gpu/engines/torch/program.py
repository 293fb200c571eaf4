"""What `engine=torch` and `engine=lightning` share: network, optimizer, resident data, steps."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from mnist_gpu.data.dataset import normalise
from mnist_gpu.data.order import dropout_seed
from mnist_gpu.engines.base import EngineFacts, Metrics, State, Workload
from mnist_gpu.engines.torch import layers, precision, tuning
from mnist_gpu.engines.torch.network import TorchNetwork
from mnist_gpu.measure import cpus

EVALUATION_BATCH = 500
DEFAULT_STEPS = 67  # divides the 938 steps of an epoch


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
        self.optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=workload.learning_rate,
            betas=(0.9, 0.999),
            eps=1e-8,
            fused=bool(self.tuning["fused_adam"]),
        )
        self.generator = torch.Generator(device)
        context = layers.Context(
            self.generator, self.precision.products, bool(self.tuning["onednn_linear"])
        )
        self.training_pass = self.network.training_pass(context)
        self.cross_entropy = layers.CrossEntropy()
        self._place_data()
        self._loss_sum = torch.zeros((), dtype=self.precision.parameters, device=device)
        self._correct = torch.zeros((), dtype=torch.int64, device=device)
        self._seen = 0

    @property
    def steps(self) -> int:
        """Optimizer steps in one execution."""
        return self.workload.steps_per_execution or DEFAULT_STEPS

    def begin_epoch(self, epoch: int) -> None:
        """Restart the dropout stream for `epoch` (from 1)."""
        self.generator.manual_seed(dropout_seed(self.workload.seed, epoch))

    def run_steps(self, indices: torch.Tensor) -> None:
        """Make one optimizer step for every 64 of `indices` ((n,) int64, on any device)."""
        indices = indices.to(self.device)
        size = self.workload.batch_size
        for start in range(0, len(indices), size):
            batch = indices[start : start + size]
            self._step(self.train_images[batch], self.train_labels[batch])

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
        """Make one step and one evaluation, then put everything back as it was."""
        before = self.state()
        self.begin_epoch(0)
        batch = self.workload.batch_size
        self.run_steps(torch.arange(2 * batch, device=self.device) % len(self.train_labels))
        self.take_metrics()
        self.evaluate()
        self.load_state(before)

    def state(self) -> State:
        """Weights and Adam's moments in PyTorch's layout, on the host."""
        state: State = {}
        step = 0
        for name, parameter in self.network.named_parameters():
            adam = self.optimizer.state.get(parameter, {})
            moments = {
                "weights": parameter,
                "adam_m": adam.get("exp_avg", torch.zeros_like(parameter)),
                "adam_v": adam.get("exp_avg_sq", torch.zeros_like(parameter)),
            }
            for kind, tensor in moments.items():
                state[f"{kind}/{name}"] = self.network.to_neutral(name, tensor)
            step = int(adam["step"]) if adam else 0
        state["adam_step"] = np.array(step, dtype=np.int64)
        return state

    def load_state(self, state: State) -> None:
        """Continue from `state`."""
        step = int(state["adam_step"])
        self.optimizer.state.clear()
        for name, parameter in self.network.named_parameters():
            with torch.no_grad():
                parameter.copy_(self.network.from_neutral(name, state[f"weights/{name}"]))
            if step:
                like = torch.zeros_like(parameter)
                self.optimizer.state[parameter] = {
                    "step": torch.tensor(float(step), device=self._step_device()),
                    "exp_avg": like.clone().copy_(
                        self.network.from_neutral(name, state[f"adam_m/{name}"])
                    ),
                    "exp_avg_sq": like.clone().copy_(
                        self.network.from_neutral(name, state[f"adam_v/{name}"])
                    ),
                }

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
            compile="none",
            steps_per_execution=self.steps,
            accelerator=self.device.type,
            accelerator_name=accelerator_name(self.device),
            tuning=self.tuning,
        )

    @torch.no_grad()
    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        x = images
        for layer in self.training_pass:
            x = layer.forward(x)
        loss = self.cross_entropy.forward(x, labels)
        gradient: torch.Tensor | None = self.cross_entropy.backward(self._one)
        for layer in reversed(self.training_pass):
            if gradient is None:
                break
            gradient = layer.backward(gradient)
        self.optimizer.step()
        self._loss_sum.add_(loss, alpha=len(labels))
        self._correct += (x.argmax(1) == labels).sum()
        self._seen += len(labels)

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

    def _step_device(self) -> torch.device:
        # Adam keeps its step counter on the host unless it is fused or capturable
        fused = self.optimizer.defaults["fused"] or self.optimizer.defaults["capturable"]
        return self.device if fused else torch.device("cpu")


def accelerator_name(device: torch.device) -> str:
    """What the device calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type
