"""The curves of every engine lie over each other: the same tags, the same steps."""

import csv

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

import mnist_gpu
from mnist_gpu.faults import small


@pytest.fixture
def asked(tmp_path, monkeypatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    digits = small.write(tmp_path / "digits", 640, 128)
    return ["platform=cpu", "model=mlp", "epochs=3", *digits]


def curves(folder) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return events


def test_two_engines_draw_the_same_curves_at_the_same_steps(asked, tmp_path):
    found = {}
    for engine in ("torch", "lightning"):
        mnist_gpu.run([*asked, f"engine={engine}", f"hydra.run.dir={engine}"])
        found[engine] = curves(tmp_path / engine)
    tags = {engine: set(events.Tags()["scalars"]) for engine, events in found.items()}
    assert tags["torch"] == tags["lightning"]
    for tag in tags["torch"]:
        torch, lightning = ([point.step for point in e.Scalars(tag)] for e in found.values())
        assert torch == lightning
    for tag in ("loss/train", "loss/test", "accuracy/test"):
        torch, lightning = ([point.value for point in e.Scalars(tag)] for e in found.values())
        assert torch == pytest.approx(lightning, rel=1e-5)


def test_hyper_parameters_say_which_division_ran(asked, tmp_path):
    given = [*asked, "engine=torch", "engine.switches.fused_adam=true", "hydra.run.dir=run"]
    mnist_gpu.run(given)
    content = curves(tmp_path / "run").summary_metadata["_hparams_/session_start_info"]
    data = plugin_data_pb2.HParamsPluginData.FromString(content.plugin_data.content)
    assert data.session_start_info.hparams["division"].string_value == "tuned"


@pytest.mark.parametrize("engine", ["torch", "lightning"])
def test_as_a_table_the_curves_have_a_line_an_epoch(asked, tmp_path, engine):
    record = mnist_gpu.run([*asked, f"engine={engine}", "logger=csv", "hydra.run.dir=run"])
    assert not (tmp_path / "run/tensorboard").exists()
    with (tmp_path / "run/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    shown = [float(row["accuracy/test"]) for row in rows]
    assert shown == [epoch.test_accuracy for epoch in record.epochs]
    assert [float(row["time/epoch_train_s"]) for row in rows] == [e.train_s for e in record.epochs]
