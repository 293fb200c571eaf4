"""A minute of training says what the whole run takes, with what is not known of it."""

import json

import pytest

from mnist_gpu import estimate as entry
from mnist_gpu.faults import small
from mnist_gpu.records.estimate import PREFIX, Estimate, read_lines
from mnist_gpu.runs.estimating import estimate_of
from mnist_gpu.timing.pieces import Piece, Pieces
from tests.records import make_record


@pytest.fixture
def digits(tmp_path, monkeypatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    return ["platform=cpu", "model=mlp", *small.write(tmp_path / "digits", 1920, 640)]


@pytest.mark.parametrize("engine", ["lightning", "torch", "keras", "tensorflow", "mlx"])
def test_every_engine_is_estimated_and_leaves_no_record(digits, tmp_path, capsys, engine):
    pytest.importorskip("tensorflow" if engine == "keras" else engine)
    assert entry.main([*digits, f"engine={engine}", "budget_s=1", "hydra.run.dir=here"]) == 0
    said = capsys.readouterr().out
    [estimate], _ = read_lines(said)
    assert estimate == Estimate.model_validate_json((tmp_path / "here/estimate.json").read_text())
    assert (estimate.engine, estimate.division, estimate.epochs) == (engine, "stock", 50)
    assert estimate.train_s.low_s < estimate.train_s.value_s < estimate.total_s.value_s
    assert not list(tmp_path.rglob("record.json"))


def test_a_sweep_of_estimates_ends_in_one_table(digits, capsys):
    assert entry.main([*digits, "engine=torch,lightning", "-m", "budget_s=1"]) == 0
    said = capsys.readouterr().out
    assert said.count(PREFIX) == 2
    assert "not results" in said


def test_an_estimate_for_a_platform_that_this_is_not_says_so(digits, capsys):
    elsewhere = ["platform=kaggle" if one == "platform=cpu" else one for one in digits]
    assert entry.main([*elsewhere, "engine=torch", "budget_s=1", "hydra.run.dir=here"]) == 0
    said = capsys.readouterr().out
    asked = "this machine is not seen to be what was asked for: Kaggle (CPU)"
    assert f"warning        {asked}" in said
    [estimate], _ = read_lines(said)
    assert estimate.warnings[0] == asked


def test_an_estimate_that_reaches_to_waits_of_the_framework_says_so():
    minute = Pieces(938)
    minute.pieces = [Piece(1, 60, 2.6) for _ in range(10)]
    keras, torch = (
        estimate_of(make_record(engine=engine), minute, 50, 3.0) for engine in ("keras", "torch")
    )
    [said] = [warning for warning in keras.warnings if warning not in torch.warnings]
    assert (
        "epochs may end in a wait for TensorFlow's data pipeline, as 35 of 86 measured ones did"
        in said
    )
    # an epoch of 40.65 s would wait until the tuning thread wakes after 40.95 s
    assert torch.train_s.value_s < keras.train_s.value_s < torch.train_s.value_s + 50 * 0.35
    # 40.6 s an epoch, give or take: it may last until the tuning thread wakes after 81.91 s
    assert keras.train_s.high_s == pytest.approx(50 * 81.91, rel=0.001)
    assert torch.train_s.high_s < 50 * 50


def test_in_a_folder_that_is_gone_nothing_is_begun(digits, tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert entry.main(digits) == 1
    said = "mnist-gpu: the folder this is started in is gone: cd to another first\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("budget_s=soon", "budget_s=soon: a number of seconds, from 1 to 86400"),
        ("devices=2", "devices=2: an estimate trains on one device, here"),
        ("resume=auto", "resume=auto: an estimate"),
        ("epochs=0", "epochs=0"),
    ],
)
def test_what_cannot_be_estimated_is_refused_in_one_line(digits, capsys, given, says):
    assert entry.main([*digits, given]) == 1
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_an_estimate_of_the_standard_run_ends_a_run_that_asks_for_one(digits, tmp_path, capsys):
    from mnist_gpu.train import run_app

    given = [*digits, "engine=torch", "epochs=1", "estimate=true", "hydra.run.dir=here"]
    assert run_app(given) == 0
    [estimate], _ = read_lines(capsys.readouterr().out)
    record = json.loads((tmp_path / "here/record.json").read_text())
    assert estimate.epochs == 50
    assert record["epochs"][0]["train_s"] == pytest.approx(estimate.measured_s, rel=0.05)
    assert estimate.train_s.value_s == pytest.approx(50 * estimate.measured_s, rel=0.3)
    assert (tmp_path / "here/estimate.json").exists()
