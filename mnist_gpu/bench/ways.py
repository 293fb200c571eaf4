"""The ways to train that are compared. Each gives a function that makes the workload's steps once
and returns the seconds they took; everything before the first step is off the clock."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from mnist_gpu.protocol.workload import Workload

Once = Callable[[], float]
MEMBERS = 8


def engine(name: str, workload: Workload) -> Once:
    """One of this project's engines, through its own loop, callbacks and stopwatch."""
    from mnist_gpu import engines
    from mnist_gpu.config.compose import check, compose_config
    from mnist_gpu.timing.stopwatch import Stopwatch
    from mnist_gpu.timing.timeline import Timeline

    settings = check(compose_config([f"engine={name}"])).engine.model_dump()
    engine_class = engines.find(name)

    def once() -> float:
        trained = engine_class(workload, settings, "cpu")
        trained.build()
        trained.warm_up()
        timeline = Timeline(Stopwatch(synchronise=trained.synchronise, phase="other"), 1)
        trained.fit(timeline)
        return timeline.history[0].train_s

    return once


def bare_program(workload: Workload, without: str | None = None) -> Once:
    """The fast training pass alone: no loop, no callbacks, no timeline. Of many seeds at once, the
    seconds are those of one seed's share.

    Args:
        workload: what to train.
        without: a speed measure that is switched off.
    """
    import torch

    from mnist_gpu.engines.torch import make_program

    tuning = {"tuning": {without: False}} if without else {}
    program = make_program(workload, tuning, torch.device("cpu"))
    program.warm_up()
    order = program.order(1)
    before = program.state()

    def once() -> float:
        # every repeat trains the same, as those of an engine do
        program.load_state(before)
        program.begin_epoch(1)
        began = time.perf_counter()
        program.run_steps(order)
        program.take_metrics()
        return (time.perf_counter() - began) / workload.ensemble

    return once


def eager(workload: Workload) -> Once:
    """A plain PyTorch loop on tensors in memory: `nn.Module`, autograd, Adam as it comes."""
    import torch
    import torch.nn.functional as F

    from mnist_gpu.bench.plain import plain_network
    from mnist_gpu.measure import cpus

    torch.set_num_threads(cpus.threads())
    network = plain_network(workload.network)
    optimizer = torch.optim.Adam(network.parameters(), lr=workload.learning_rate)
    images = torch.from_numpy(workload.dataset.train_images).unsqueeze(1).float()
    images = (images / 255 - 0.1307) / 0.3081
    labels = torch.from_numpy(workload.dataset.train_labels).long()

    def once() -> float:
        began = time.perf_counter()
        for batch in torch.randperm(len(labels)).split(workload.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
        return time.perf_counter() - began

    return once


def classic(workload: Workload) -> Once:
    """PyTorch's classic MNIST example: a torchvision transform per sample in a `DataLoader`."""
    import torch
    import torch.nn.functional as F
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    from mnist_gpu.bench.plain import plain_network
    from mnist_gpu.measure import cpus

    torch.set_num_threads(cpus.threads())
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    part = workload.dataset

    class Samples(Dataset[tuple[torch.Tensor, int]]):
        def __len__(self) -> int:
            return len(part.train_labels)

        def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
            # what torchvision.datasets.MNIST does for each sample
            image = Image.fromarray(part.train_images[number], mode="L")
            return transform(image), int(part.train_labels[number])

    loader = DataLoader(Samples(), batch_size=workload.batch_size, shuffle=True)
    network = plain_network(workload.network)
    optimizer = torch.optim.Adam(network.parameters(), lr=workload.learning_rate)

    def once() -> float:
        began = time.perf_counter()
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()
        return time.perf_counter() - began

    return once


def keras_fit(workload: Workload) -> Once:
    """Stock `keras.fit` on NumPy arrays, TensorFlow backend, as in Keras' own example."""
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import tensorflow

    from mnist_gpu.bench.plain import plain_keras
    from mnist_gpu.measure import cpus

    tensorflow.config.threading.set_intra_op_parallelism_threads(cpus.threads())
    model = plain_keras(workload.network)
    images = workload.dataset.train_images[..., None].astype("float32")
    images = (images / 255 - 0.1307) / 0.3081
    labels = workload.dataset.train_labels.astype("int64")
    # tracing and compilation are not on the clock of this table
    model.fit(images[:128], labels[:128], batch_size=workload.batch_size, verbose=0)

    def once() -> float:
        began = time.perf_counter()
        model.fit(images, labels, batch_size=workload.batch_size, verbose=0)
        return time.perf_counter() - began

    return once


# conf/engine/torch.yaml says what each is
ABLATIONS = {
    f"without-{measure}": measure
    for measure in (
        "keep_memory",
        "relu_after_pool",
        "fused_adam",
        "first_convolution",
        "pooled_convolution",
        "sparse_linear",
        "output_layers",
        "dropout_bits",
    )
}
WAYS: dict[str, Callable[[Workload], Once]] = {
    "classic": classic,
    "eager": eager,
    "keras.fit": keras_fit,
    "program": bare_program,
    "torch": lambda workload: engine("torch", workload),
    "lightning": lambda workload: engine("lightning", workload),
    "ensemble": lambda workload: bare_program(replace(workload, ensemble=MEMBERS)),
    "keras": lambda workload: engine("keras", workload),
    "tensorflow": lambda workload: engine("tensorflow", workload),
    "mlx": lambda workload: engine("mlx", workload),
    **{name: partial(bare_program, without=measure) for name, measure in ABLATIONS.items()},
}
DESCRIPTIONS = {
    "classic": "(a) PyTorch's classic example: torchvision DataLoader",
    "eager": "(b) plain eager loop on resident tensors",
    "keras.fit": "(c) stock keras.fit on TensorFlow",
    "program": "the fast training pass in a bare loop",
    "torch": "engine=torch",
    "lightning": "engine=lightning",
    "ensemble": f"ensemble={MEMBERS} in a bare loop, for each seed",
    "keras": "engine=keras",
    "tensorflow": "engine=tensorflow",
    "mlx": "engine=mlx",
    **{name: f"the same without `{measure}`" for name, measure in ABLATIONS.items()},
}
NEEDS = {"keras.fit": "tensorflow", "keras": "keras", "tensorflow": "tensorflow", "mlx": "mlx"}
