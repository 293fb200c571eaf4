"""What holds for every stock engine, and the plain loop that says what is right."""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

# its compiler's LLVM has to be loaded before TensorFlow's
import torch._dynamo
import torch.nn.functional as F

from mnist_gpu import data, engines
from mnist_gpu.engines.base import EngineOptions
from mnist_gpu.errors import UserError
from mnist_gpu.protocol.dataset import Dataset, normalise
from mnist_gpu.protocol.network import initial_weights, named_network
from mnist_gpu.protocol.workload import Metrics, Workload
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Interrupted, Observer, Timeline

STEPS_PER_EPOCH = 3  # the last of half a batch


def workload(mnist_dir: Path, model: str = "mlp", dropout: bool = True, **changes) -> Workload:
    """The first `n` images of MNIST, and 100, or 4, to test on."""
    whole = data.load({"source": "mnist", "dir": str(mnist_dir)})
    n = changes.pop("n", 160)
    tested = 100 if n >= 160 else 4
    few = Dataset(
        whole.name,
        whole.sha256,
        whole.train_images[:n],
        whole.train_labels[:n],
        whole.test_images[:tested],
        whole.test_labels[:tested],
    )
    network = named_network(model, dropout)
    return Workload(network, few, initial_weights(network, 0), **{"epochs": 1, **changes})


@contextmanager
def running(name: str, load: Workload, **options):
    engine = engines.find(name)(load, EngineOptions(**options), "cpu")
    try:
        engine.build()
        yield engine
    finally:
        engine.close()


def idle(engine) -> Timeline:
    """A timeline that nobody watches."""
    return Timeline(Stopwatch(synchronise=engine.synchronise), engine.workload.epochs)


def course(engine, *observers: Observer) -> Timeline:
    """Train all epochs."""
    timeline = Timeline(
        Stopwatch(synchronise=engine.synchronise), engine.workload.epochs, observers
    )
    engine.fit(timeline)
    return timeline


def plain(load: Workload):
    """Losses by epoch and the state at the end: PyTorch's functions and Adam, in float64."""
    images = torch.tensor(normalise(load.dataset.train_images).astype(np.float64)[:, None])
    labels = torch.tensor(load.dataset.train_labels.astype(np.int64))
    weights = {
        name: torch.tensor(array.astype(np.float64), requires_grad=True)
        for name, array in load.initial_weights.items()
    }
    adam = torch.optim.Adam(weights.values(), lr=load.learning_rate)

    def forward(x):
        for layer in load.network.layers:
            if layer.weight_shape:
                own = weights[f"{layer.name}.weight"], weights[f"{layer.name}.bias"]
            match layer.kind:
                case "conv":
                    x = F.conv2d(x, *own, padding=layer.padding)
                case "linear":
                    x = F.linear(x, *own)
                case "relu":
                    x = x.relu()
                case "max_pool":
                    x = F.max_pool2d(x, layer.size)
                case "flatten":
                    x = x.flatten(1)
        return x

    losses = []
    for epoch in range(1, load.epochs + 1):
        loss_sum = 0.0
        for batch in torch.tensor(load.order(epoch)).split(load.batch_size):
            adam.zero_grad()
            loss = F.cross_entropy(forward(images[batch]), labels[batch])
            loss.backward()
            adam.step()
            loss_sum += loss.item() * len(batch)
        losses.append(loss_sum / len(labels))
    state = {f"weights/{name}": weight.detach().numpy() for name, weight in weights.items()}
    for name, weight in weights.items():
        state[f"adam_m/{name}"] = adam.state[weight]["exp_avg"].numpy()
        state[f"adam_v/{name}"] = adam.state[weight]["exp_avg_sq"].numpy()
    return losses, state


def distance(load: Workload, name: str, **options) -> float:
    """The largest relative difference of any epoch's loss and of any part of the last state."""
    losses, expected = plain(load)
    with running(name, load, **options) as engine:
        engine.warm_up()
        reached = [row.train_loss for row in course(engine).history]
        state = engine.state()
    parts = [
        np.linalg.norm(state[key] - array) / np.linalg.norm(array)
        for key, array in expected.items()
    ]
    apart = np.abs(np.subtract(reached, losses)) / losses
    return float(max(*parts, *apart))


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


class Steps(Observer):
    """Notes the steps it is told of; asks the run to end at one of them."""

    vital = True

    def __init__(self, end_at: int | None = None) -> None:
        self.seen, self.end_at = [], end_at

    def began(self, timeline):
        self.timeline = timeline

    def progressed(self, epoch, step):
        self.seen.append((epoch, step))
        if step == self.end_at:
            self.timeline.interrupted_by = 15


class StockEngine:
    """Tests of one engine: a subclass names it."""

    name: str
    framework: str

    def test_in_float64_a_hundred_steps_of_mlp_are_the_plain_loops(self, mnist_dir):
        load = workload(mnist_dir, "mlp", dropout=False, precision="float64", epochs=34)
        assert distance(load, self.name) < 1e-9

    def test_in_float64_ten_steps_of_cnn_are_the_plain_loops(self, mnist_dir):
        load = workload(mnist_dir, "cnn", False, n=20, batch_size=8, epochs=4, precision="float64")
        assert distance(load, self.name) < 1e-9

    def test_in_float64_a_padded_convolution_is_the_plain_loops(self, mnist_dir):
        load = workload(mnist_dir, "lenet5", False, n=20, batch_size=8, precision="float64")
        assert distance(load, self.name) < 1e-9

    def test_a_warm_up_leaves_everything_as_it_was(self, mnist_dir):
        ends = []
        for warm in (False, True):
            with running(self.name, workload(mnist_dir)) as engine:
                start = engine.state()
                if warm:
                    engine.warm_up()
                    assert same(engine.state(), start)
                    assert engine.steps_made() == 0
                history = course(engine).history
                ends.append((engine.state(), history[0].train_loss, history[0].test_loss))
        assert same(ends[0][0], ends[1][0])
        assert ends[0][1:] == ends[1][1:]

    def test_a_run_resumed_after_an_epoch_ends_with_the_same_bits(self, mnist_dir):
        load = workload(mnist_dir, epochs=3)
        with running(self.name, load) as engine:
            whole = course(engine)
            expected = engine.state()
        with running(self.name, replace(load, epochs=1)) as engine:
            first = course(engine)
            kept = engine.state()
        with running(self.name, load) as engine:
            engine.warm_up()
            engine.load_state(kept)
            timeline = Timeline(Stopwatch(synchronise=engine.synchronise), 3, (), first.history)
            engine.fit(timeline)
            assert same(engine.state(), expected)
        assert [row.train_loss for row in timeline.history] == [
            row.train_loss for row in whole.history
        ]

    def test_every_step_counts_and_the_smaller_last_batch_is_one(self, mnist_dir):
        load, steps = workload(mnist_dir, epochs=2), Steps()
        with running(self.name, load) as engine:
            course(engine, steps)
            assert engine.steps_made() == 2 * STEPS_PER_EPOCH
        assert [step for _, step in steps.seen if step] == [1, 2, 3, 1, 2, 3]

    def test_dropout_draws_anew_each_epoch_and_comes_from_the_seed(self, mnist_dir):
        def losses(seed, learning_rate=1e-12):
            # the weights stay, so that only order and dropout differ
            load = workload(mnist_dir, epochs=2, seed=seed, learning_rate=learning_rate)
            with running(self.name, load) as engine:
                return [row.train_loss for row in course(engine).history]

        first, again, other = losses(0), losses(0), losses(1)
        assert first == again
        assert len({*first, *other}) == 4

    def test_the_standard_run_learns_with_dropout_on(self, mnist_dir):
        with running(self.name, workload(mnist_dir, n=2000, epochs=2)) as engine:
            last = course(engine).history[-1]
        assert 0.8 < last.train_accuracy < 0.92
        assert last.test_accuracy > 0.8

    def test_an_interrupted_epoch_ends_after_the_step_under_way(self, mnist_dir):
        steps = Steps(end_at=2)
        with running(self.name, workload(mnist_dir, n=600)) as engine:
            timeline = Timeline(Stopwatch(synchronise=engine.synchronise), 1, (steps,))
            timeline.began()
            with pytest.raises(Interrupted, match="signal 15"):
                engine.fit(timeline)
            assert engine.steps_made() == 3
        assert timeline.history == []

    def test_evaluation_is_what_the_predicted_logits_say(self, mnist_dir):
        load = workload(mnist_dir)
        with running(self.name, load) as engine:
            course(engine)
            logits, metrics = engine.predict(), engine.evaluate()
        assert logits.shape == (100, 10)
        assert logits.dtype == np.float32
        expected = Metrics.of_logits(logits, load.dataset.test_labels.astype(np.int64))
        assert metrics.loss == pytest.approx(expected.loss, rel=1e-5)
        assert metrics.accuracy == pytest.approx(expected.accuracy)

    def test_the_facts_say_what_ran(self, mnist_dir):
        with running(self.name, workload(mnist_dir)) as engine:
            facts = engine.facts()
        assert facts.framework == self.framework
        assert facts.accelerator == "cpu"
        assert facts.precision == "float32"
        assert facts.division({}) == "stock"
        # initial weights, order, Adam, dropout at the least
        assert len(facts.deviations_from_defaults) >= 4
        assert any("dam" in line for line in facts.deviations_from_defaults)

    def test_an_unknown_switch_is_named_in_one_line(self, mnist_dir):
        with (
            pytest.raises(UserError, match=r"^engine\.switches\.warp=True: .* has no such switch"),
            running(self.name, workload(mnist_dir), switches={"warp": True}),
        ):
            pass

    def test_an_impossible_precision_is_named_with_what_there_is(self, mnist_dir):
        load = workload(mnist_dir, precision="16-mixed")
        with (
            pytest.raises(UserError, match=r"precision=16-mixed: .* choose from float32"),
            running(self.name, load),
        ):
            pass
