"""The report's tables and Markdown: which there are, in which order, and that texts stay texts."""

import io

import pytest
from rich.console import Console

from mnist_gpu.report.answer import answer
from mnist_gpu.report.table import escape, markdown, missing, print_console, sections
from tests.records import make_record
from tests.summaries import LABORATORY, seeds, summary_of


def test_the_four_questions_are_answered_or_say_what_is_missing(field):
    for records in ([], seeds(), field):
        topics = {finding.topic for finding in summary_of(*records).findings}
        assert {
            "Accelerators",
            "Cloud against local",
            "Resource use",
            "Cost-effectiveness",
        } <= topics
    assert all("Missing: " in found.text for found in summary_of().findings)


def test_the_promised_rows_come_first_and_are_tbd_without_records(field):
    (standard, *_) = sections(summary_of())
    assert [line.cells[1] for line in standard.lines] == [
        "Keras on JupyterHub (CPU)",
        "Kaggle",
        "M1 MacBook (bare metal)",
        "TensorFlow on Google Colab",
        "GPU on Jetstream2",
    ]
    assert all(line.cells[4] == "TBD" for line in standard.lines)
    (standard, *_) = sections(summary_of(*field))
    tbd = {line.cells[1]: line.cells[4] == "TBD" for line in standard.lines[:5]}
    assert list(tbd.values()) == [True, False, True, False, False]
    assert len(standard.lines) == 2 + 7
    rehearsed = summary_of(*seeds(platform="jupyterhub", engine="keras", platform__rehearsal=True))
    assert "Keras on JupyterHub (CPU)" in missing(rehearsed)


def test_the_first_answer_lists_machines_by_the_common_engine_and_those_that_nobody_tried():
    stock = summary_of(
        *seeds(3, epoch_s=9.0),
        *seeds(3, epoch_s=2.0, **LABORATORY),
        *seeds(3, epoch_s=1.0, engine__division="tuned", engine__switches={"compile": True}),
        *seeds(3, engine="keras", epoch_s=1.0),
        *seeds(3, epoch_s=1.0, epochs=3),
        *seeds(2, platform="kaggle", epoch_s=4.0),
    )
    said = answer(stock)
    first, second, third, *_ = said.split(" s on ")
    assert first == "**So far**, the 50 epochs of stock lightning took 100.3 ± 0.2"
    assert second.startswith("lab machine, AMD Ryzen 9 7950X, 4 threads (n = 3); 200.")
    assert third.startswith("Kaggle (CPU), Intel(R) Xeon(R) CPU @ 2.20GHz, 4 threads (n = 2); 451.")
    assert said.count(" s on ") == 3
    assert "What has fewer than 3 runs (n) is compared with nothing." in said
    nobody = said.split("**Nobody has run it yet** on these: ")[1].split(".")[0].split("; ")
    assert nobody == [
        "Keras on JupyterHub (CPU)",
        "M1 MacBook (bare metal)",
        "TensorFlow on Google Colab",
        "GPU on Jetstream2",
    ]
    assert " took TBD. " in answer(summary_of())


def test_a_name_alone_fills_no_promised_row():
    assert "Kaggle" in missing(summary_of(*seeds(count=1, platform="kaggle_fast")))
    there = {"platform__signals": {"KAGGLE_URL_BASE": "set"}, "platform__detected": "kaggle"}
    assert "Kaggle" not in missing(summary_of(*seeds(count=1, platform="kaggle_p100", **there)))


def test_seeds_whose_runs_all_failed_stand_beside_the_row():
    failed = {"status": "failed", "status_reason": "out of memory"}
    (row,) = summary_of(*seeds(count=3), make_record(seed=3, **failed)).rows
    assert "no run completed of seeds 3" in row.notes


def test_no_table_mixes_standard_runs_with_others():
    summary = summary_of(
        *seeds(count=2),
        *seeds(count=2, epochs=3),
        *seeds(count=1, epochs=3, dataset="synthetic"),
        *seeds(count=1, verified=False, platform="lab"),
        *seeds(count=1, segments=2, engine="keras"),
        make_record(seed=7, status="failed", status_reason="out of memory"),
    )
    assert [section.title for section in sections(summary)] == [
        "Standard runs",
        "Runs that deviate from the protocol",
        "Runs on drawn or custom data",
        "Runs whose platform could not be verified",
        "Runs that were interrupted and resumed",
    ]
    assert summary.unfinished == {"failed": 1}
    assert "Not shown: 1 failed" in markdown(summary)


def test_tuned_and_open_rows_stand_beneath_their_own_stock_row():
    tuned = {"engine__division": "tuned", "engine__switches": {"compile": True}}
    summary = summary_of(
        *seeds(2, epoch_s=9.0), *seeds(2, epoch_s=1.0, **tuned), *seeds(2, platform="lab", **tuned)
    )
    (standard, *_) = sections(summary)
    shown = [line.cells[1:3] for line in standard.lines if line.cells[0]]
    assert shown == [
        ("CPU on bare metal or a virtual machine", "lightning"),
        ("↳ CPU on bare metal or a virtual machine", "lightning, tuned (compile=true)"),
        ("lab machine", "lightning, tuned (compile=true)"),
    ]


def test_text_is_plain_in_markdown():
    assert escape("a|b*c_[d](https://e)<f>`g`") == (r"a\|b\*c\_\[d\](https&#58;//e)\<f\>\`g\`")
    assert escape("www.e WWW.f") == "www&#46;e WWW&#46;f"


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_a_terminal_shows_the_whole_name_of_every_row_however_narrow(monkeypatch, columns):
    file, summary = io.StringIO(), summary_of(*seeds(), *seeds(1, platform="lab"))
    console = Console(file=file, width=columns, force_terminal=True, no_color=True)
    monkeypatch.setattr("mnist_gpu.output.console", lambda: console)
    print_console(summary)
    for row in summary.rows:
        assert row.ref in file.getvalue().replace("\n", " ")
    assert ("Training time: " in file.getvalue()) is (columns < 120)
