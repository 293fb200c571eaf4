"""Estimates are pasted, read back, ranked, and laid beside the run that came of them."""

import io
import re
import textwrap

import pytest

from mnist_gpu.bench import truth
from mnist_gpu.config.compose import platforms
from mnist_gpu.records.estimate import PREFIX, Estimate, line, read_lines
from mnist_gpu.records.fit import fit, sentences
from mnist_gpu.records.schema import Limits, Price
from mnist_gpu.records.store import write_record
from mnist_gpu.report.__main__ import main as report
from mnist_gpu.report.estimates import show
from tests.records import make_record

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


def test_an_estimate_survives_being_pasted_among_other_words():
    one, other = made(), made(100.0, engine="keras")
    text = f"see here:\n> {line(one)}\nand `{line(other)}`, thanks"
    assert read_lines(text) == ([one, other], [])


def test_a_line_that_lost_its_end_is_named():
    whole = line(made())
    for damaged in (whole[:-20], whole.replace(whole[60:64], "AAAA")):
        found, [fault] = read_lines(damaged)
        assert not found
        assert re.search("damaged|not an estimate", fault)


def test_a_line_that_would_unpack_to_anything_large_is_refused():
    import base64
    import zlib

    bomb = base64.urlsafe_b64encode(zlib.compress(b" " * 4_000_000, 9)).decode().rstrip("=")
    found, [fault] = read_lines(PREFIX + bomb)
    assert not found
    assert "damaged" in fault


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


def test_what_cannot_be_read_is_named_and_the_others_are_ranked(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "estimate.json").write_text("{}")
    pasted = f"{line(made(label='a whole one'))}\n{line(made(label='a cut one'))[:-20]}\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(pasted))
    assert report(["--estimates", str(tmp_path), "-"]) == 1
    shown = capsys.readouterr()
    assert "a whole one" in shown.out
    assert "a cut one" not in shown.out
    assert "left out of the ranking" in shown.err
    assert "estimate.json: not an estimate" in shown.err
    assert "the line is damaged" in shown.err


def test_where_nothing_can_be_read_its_faults_are_all_that_is_said(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(line(made())[:-20]))
    assert report(["--estimates", "-"]) == 1
    shown = capsys.readouterr()
    assert not shown.out
    assert "the line is damaged" in shown.err
    assert "makes one" not in shown.err


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
    assert read_lines(text) == ([one, other], [])


def test_the_beginning_of_a_line_alone_is_only_a_word():
    assert read_lines(f"lines begin with `{PREFIX}`, or {PREFIX} and go on") == ([], [])


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
