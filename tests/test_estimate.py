"""A minute of training says what the whole run takes, with what is not known of it."""

import io
import json
import re
import textwrap

import numpy as np
import pytest

from mnist_gpu import estimate as entry
from mnist_gpu.bench import truth
from mnist_gpu.config.compose import platforms
from mnist_gpu.errors import UserError
from mnist_gpu.faults import small
from mnist_gpu.protocol.workload import Metrics
from mnist_gpu.records.estimate import PREFIX, Estimate, line, read_lines
from mnist_gpu.records.fit import fit, sentences
from mnist_gpu.records.schema import Limits, Price
from mnist_gpu.records.store import write_record
from mnist_gpu.report.__main__ import main as report
from mnist_gpu.report.estimates import show
from mnist_gpu.timing.pieces import Enough, Piece, Pieces, extrapolate
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Timeline
from tests.records import make_record
from tests.test_stopwatch import FakeClock

STEPS = 938
FREE = Price(amount_per_hour=None, unit=None, source=None, as_of=None, free=True, reason="free")


def made(total_s: float = 3600.0, **changes) -> Estimate:
    document = {
        "created_at": "2026-01-01T00:00:00Z",
        "program_version": "1",
        "platform": "kaggle",
        "label": "Kaggle (CPU)",
        "kind": "cloud",
        "hardware": "a processor",
        "engine": "lightning",
        "engine_version": 1,
        "framework": "PyTorch Lightning",
        "framework_version": "2.6.6",
        "division": "stock",
        "switches": {},
        "model": "cnn",
        "precision": "float32",
        "epochs": 50,
        "batch_size": 64,
        "dataset": "mnist",
        "steps": 938,
        "pieces": 16,
        "measured_s": 60.0,
        "train_s": {"value_s": 3000.0, "low_s": 2800.0, "high_s": 3200.0},
        "total_s": {"value_s": total_s, "low_s": total_s * 0.9, "high_s": total_s * 1.1},
        "price": FREE,
        "limits": {"session_s": None, "quota_s_per_week": None, "reason": "none"},
        "warnings": [],
    }
    return Estimate.model_validate(document | changes)


def training(
    step_s, epochs: int, budget_s: float | None = None, end_s=lambda epoch: 0
) -> list[Piece]:
    """Pieces of a training whose step `n` takes `step_s(n)`, each epoch beginning with 2 s and
    ending with `end_s(epoch)`."""
    clock = FakeClock()
    pieces = Pieces(STEPS, budget_s)
    timeline = Timeline(Stopwatch(clock), 50, [pieces])
    timeline.began()
    try:
        for epoch in range(1, epochs + 1):
            timeline.training(epoch)
            clock.passes(2)
            for step in range(1, STEPS + 1):
                clock.passes(step_s((epoch - 1) * STEPS + step))
                timeline.progressed(step)
            clock.passes(end_s(epoch))
            timeline.trained()
            clock.passes(10)
            timeline.evaluated(Metrics(1.0, 0.5), Metrics(1.0, 0.5))
    except Enough:
        pass
    return pieces.pieces


@pytest.mark.parametrize("budget_s", [30, 60, 300])
def test_an_even_training_is_extrapolated_to_what_it_takes(budget_s):
    pieces = training(lambda _: 0.05, 50, budget_s)
    assert sum(piece.train_s for piece in pieces) == pytest.approx(budget_s, rel=0.12)
    found = extrapolate(pieces, STEPS, 50)
    truth = 50 * (2 + STEPS * 0.05)
    assert found.train_s == pytest.approx(truth, rel=0.01)
    assert found.low_s < truth < found.high_s
    # nothing scattered: what is left is what a minute cannot know
    assert (found.high_s - found.low_s) / 2 / truth == pytest.approx(0.12, abs=0.01)


def test_evaluation_is_no_part_of_a_piece():
    pieces = training(lambda _: 0.05, 2)
    assert sum(piece.train_s for piece in pieces) == pytest.approx(2 * (2 + STEPS * 0.05))
    assert sum(piece.steps for piece in pieces) == 2 * STEPS


def test_a_slow_first_epoch_is_counted_once():
    pieces = training(lambda step: 0.05 if step <= STEPS else 0.01, 3)
    truth = 50 * 2 + STEPS * 0.05 + 49 * STEPS * 0.01
    assert extrapolate(pieces, STEPS, 50).train_s == pytest.approx(truth, rel=0.01)


def test_a_wait_at_the_end_of_the_only_epoch_seen_is_counted_once_and_doubted():
    epoch_s = 2 + STEPS * 0.04
    found = extrapolate(training(lambda _: 0.04, 2, 90, end_s=lambda _: 38), STEPS, 50)
    assert found.train_s == pytest.approx(50 * epoch_s + 38, rel=0.01)
    # from no other epoch that waits to all of them
    assert found.low_s < 50 * epoch_s
    assert found.high_s > 50 * (epoch_s + 19)


def test_waits_at_the_ends_of_several_epochs_are_expected_of_the_others():
    pieces = training(lambda _: 0.01, 9, end_s=lambda epoch: 4 * (epoch % 2))
    found = extrapolate(pieces, STEPS, 50)
    truth = 50 * (2 + STEPS * 0.01 + 2)
    assert found.train_s == pytest.approx(truth, rel=0.01)
    assert (found.high_s - found.low_s) / 2 / found.train_s < 0.15


def test_a_training_that_slows_down_has_a_wider_interval():
    def half_width(pieces) -> float:
        found = extrapolate(pieces, STEPS, 50)
        return (found.high_s - found.low_s) / 2 / found.train_s

    even = half_width(training(lambda _: 0.05, 1))
    assert half_width(training(lambda step: 0.04 + 0.02 * step / STEPS, 1)) > 1.5 * even


def test_nine_intervals_of_ten_hold_the_truth_where_steps_are_noisy():
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        # minutes differ from each other, and steps within them
        minutes = rng.normal(1, 0.03, 60)
        steps = rng.gamma(16, 0.05 / 16, 1200)
        found = extrapolate(
            training(lambda n, m=minutes, s=steps: m[0] * s[n % 1200], 1), STEPS, 50
        )
        truth = 50 * (2 + STEPS * 0.05 * minutes.mean())
        held += found.low_s <= truth <= found.high_s
    assert 50 <= held <= 60


def test_too_little_training_is_no_estimate():
    with pytest.raises(ValueError, match="two pieces"):
        extrapolate([Piece(1, 10, 1.0)], STEPS, 50)


def test_an_estimate_survives_being_pasted_among_other_words():
    one, other = made(), made(100.0, engine="keras")
    text = f"see here:\n> {line(one)}\nand `{line(other)}`, thanks"
    assert read_lines(text) == [one, other]


def test_a_line_that_lost_its_end_is_named():
    whole = line(made())
    for damaged in (whole[:-20], whole.replace(whole[60:64], "AAAA")):
        with pytest.raises(UserError, match=r"damaged|not an estimate"):
            read_lines(damaged)


def test_a_line_that_would_unpack_to_anything_large_is_refused():
    import base64
    import zlib

    bomb = base64.urlsafe_b64encode(zlib.compress(b" " * 4_000_000, 9)).decode().rstrip("=")
    with pytest.raises(UserError, match="damaged"):
        read_lines(PREFIX + bomb)


@pytest.mark.parametrize(
    ("session_s", "says"),
    [(5000, "fits 83 min"), (3600, "may not fit 60 min"), (3000, "does not fit 50 min")],
)
def test_whether_a_run_fits_the_session_honours_the_interval(session_s, says):
    limits = Limits(
        session_s=session_s, quota_s_per_week=36_000, source="https://x.org", as_of="2026-01-01"
    )
    found = fit(made(limits=limits))
    assert (found.session, found.week) == (says, "10 such runs")
    said = "\n".join(sentences(made(limits=limits)))
    assert "not a result" in said
    assert "https://x.org, 2026-01-01" in said
    assert "10 such runs in 10.0 h a week" in said


def test_a_price_by_the_hour_becomes_the_runs_cost_with_its_date():
    price = Price(
        amount_per_hour=2.5, unit="SU", source="https://x.org", as_of="2026-02-03", free=False
    )
    said = "\n".join(sentences(made(7200.0, price=price)))
    assert "5.00 SU (2.5 SU/h, https://x.org, 2026-02-03)" in said


def test_estimates_are_ranked_by_time_and_marked(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "estimate.json").write_text(made(9000.0, label="slow one").model_dump_json())
    monkeypatch.setattr("sys.stdin", io.StringIO(f"x {line(made(60.0, label='quick one'))} y"))
    assert report(["--estimates", str(tmp_path), "-"]) == 0
    said = capsys.readouterr().out
    assert "not results" in said
    assert said.index("quick one") < said.index("slow one")


def test_where_there_is_no_estimate_the_report_says_how_to_make_one(tmp_path, capsys):
    assert report(["--estimates", str(tmp_path)]) == 1
    assert "mnist_gpu.estimate makes one" in capsys.readouterr().err


def test_estimates_of_different_trainings_are_said_to_be(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    out = io.StringIO()
    show([made(), made(model="mlp")], out)
    assert "not all of the same training" in out.getvalue()


@pytest.mark.parametrize("columns", [40, 20])
def test_where_a_table_has_no_room_nothing_is_lost_of_it(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    show([made(hardware="Xeon" * 30), made(60.0)])
    said = re.sub(r"[\s│]", "", capsys.readouterr().out)
    assert "…" not in said
    for text in ("lightning", "notresults", "54minto66min", "nolimitknown"):
        assert text in said
    assert said.count("Xeon") == 30


def test_a_terminal_that_says_it_has_no_columns_gets_a_table_of_eighty(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "0")
    show([made()])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) == 80
    assert "lightning" in "".join(lines)


@pytest.mark.parametrize(("columns", "begin"), [(72, ""), (76, "> "), (40, "    ")])
def test_a_line_that_mail_or_a_terminal_has_broken_is_read_all_the_same(columns, begin):
    one, other = made(), made(100.0, engine="keras")
    text = "\n".join(
        f"{begin}{part}"
        for whole in (f"mine: {line(one)} and", line(other), "thanks")
        for part in textwrap.wrap(whole, columns, break_on_hyphens=False)
    )
    assert read_lines(text) == [one, other]


def test_the_beginning_of_a_line_alone_is_only_a_word():
    assert read_lines(f"lines begin with `{PREFIX}`, or {PREFIX} and go on") == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not an estimate: Invalid JSON"),
        (b"[]", "not an estimate: Input should be an object"),
        (b"\xff\xfe\x00", "not an estimate: Invalid JSON"),
        (b'{"estimate_version": 1}', "not an estimate: created_at: Field required"),
        (make_record().model_dump_json().encode(), "a record, not an estimate: leave --estimates"),
    ],
)
def test_a_file_that_holds_no_estimate_is_said_to_in_one_line(tmp_path, capsys, content, said):
    path = tmp_path / "given.json"
    path.write_bytes(content)
    assert report(["--estimates", str(path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"mnist-gpu: {path}: {said}")
    assert told.count("\n") == 1


def test_lines_are_read_from_a_log_of_any_length_and_encoding(monkeypatch, capsys):
    log = b"\xff progress\n" * 200_000 + line(made()).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(log), "utf-8"))
    assert report(["--estimates", "-"]) == 0
    assert "Kaggle (CPU)" in capsys.readouterr().out


def test_without_standard_input_there_is_no_estimate_in_it(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", None)
    assert report(["--estimates", "-"]) == 1
    assert "no estimate there" in capsys.readouterr().err


def test_a_strangers_estimate_acts_on_no_terminal(tmp_path, capsys):
    harmful = made(label="\x1b[2Jx", hardware="a\x9b1m", warnings=["\x1b]0;y\x07"])
    (tmp_path / "given.txt").write_text(line(harmful))
    assert report(["--estimates", str(tmp_path / "given.txt")]) == 0
    said = capsys.readouterr().out
    assert not {"\x1b", "\x9b", "\x07"} & set(said)
    assert "warning: " in said


def test_the_table_says_how_much_training_its_estimates_are_made_of(capsys):
    show([made(measured_s=5.0), made(measured_s=300.0)])
    assert "ESTIMATES from 5 s to 5.0 min of training each, not results" in capsys.readouterr().out


def test_what_is_said_beside_a_price_and_a_limit_is_passed_on():
    colab, kaggle = (platforms()[name] for name in ("colab", "kaggle_t4"))
    price, limits = Price(**colab.price.model_dump()), Limits(**kaggle.limits.model_dump())
    said = "\n".join(sentences(made(price=price, limits=limits)))
    assert "a free runtime uses no compute units)" in said
    assert "third parties say 12 hours a session)" in said
    price = Price(**platforms()["jetstream"].price.model_dump())
    assert "not stated" not in "\n".join(sentences(made(price=price)))


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
    [estimate] = read_lines(said)
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
    [estimate] = read_lines(said)
    assert estimate.warnings[0] == asked


@pytest.mark.parametrize("given", [["--estimates"], ["--estimates", "x", "--compare", "a", "b"]])
def test_estimates_without_a_path_or_beside_a_comparison_are_wrong_usage(given, capsys):
    with pytest.raises(SystemExit) as ended:
        report(given)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "- for pasted lines" in said or "not allowed with argument" in said


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path, capsys):
    (tmp_path / "estimate.json").mkdir()
    assert report(["--estimates", str(tmp_path)]) == 1
    where = tmp_path / "estimate.json"
    assert f"mnist-gpu: {where}: cannot be read: is a directory\n" in capsys.readouterr().err


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
    [estimate] = read_lines(capsys.readouterr().out)
    record = json.loads((tmp_path / "here/record.json").read_text())
    assert estimate.epochs == 50
    assert record["epochs"][0]["train_s"] == pytest.approx(estimate.measured_s, rel=0.05)
    assert estimate.train_s.value_s == pytest.approx(50 * estimate.measured_s, rel=0.3)
    assert (tmp_path / "here/estimate.json").exists()


def test_estimates_are_laid_beside_the_run_that_came_of_them(tmp_path, capsys, monkeypatch):
    sitting = tmp_path / "lightning-stock"
    record = make_record(epochs=12, epoch_s=9.0)
    first_s, *later_s = [row.train_s for row in record.epochs]
    took_s = first_s + 49 * sum(later_s) / 11
    monkeypatch.setattr("sys.argv", ["truth", str(tmp_path)])
    (sitting / "run").mkdir(parents=True)
    write_record(record, sitting / "run" / "record.json")
    # two of three intervals hold it, the middle estimate is a twentieth too long
    for name, low, value, high in (
        ("before-1", 0.95, 1.0, 1.05),
        ("before-2", 0.95, 1.05, 1.15),
        ("after-1", 1.1, 1.2, 1.3),
    ):
        span = {"value_s": value * took_s, "low_s": low * took_s, "high_s": high * took_s}
        (sitting / name).mkdir()
        (sitting / name / "estimate.json").write_text(made(train_s=span).model_dump_json())
    truth.main()
    engine, together = capsys.readouterr().out.splitlines()[-2:]
    assert engine == (
        f"| lightning, stock | 12 epochs | {took_s / 60:.1f} min (scaled) | 3 | 1.050 | 2 | 8% |"
    )
    assert together == "| together |  |  | 3 | 1.050 | 2 | 8% |"
