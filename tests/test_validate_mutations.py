"""Thousands of damaged and dishonest records: no traceback, and no accepted lie.

The oracle below works out by itself, from the bare JSON, whether a record still tells the truth.
"""

import json
import math
import random
from contextlib import suppress
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from statistics import median

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnist_gpu.records.rules import check_files
from mnist_gpu.report.export import flat_runs
from mnist_gpu.report.page import json_block, payload
from mnist_gpu.report.summary import summarise
from mnist_gpu.report.table import markdown
from tests.records import NOW, make_document

A100 = {"accelerator": "cuda", "accelerator_name": "NVIDIA A100-SXM4-40GB"}
BASES = [
    make_document(epochs=2, dataset="synthetic"),
    make_document(epochs=4, seed=1, epoch_s=1.5, **A100),
    make_document(epochs=3, model="mlp", epoch_s=0.9),
    make_document(epochs=50, seed=2),
    make_document(epochs=3, seed=3, status="interrupted", status_reason="Ctrl-C"),
]
PHASES = [
    f"{name}_s"
    for name in ("startup", "data", "build", "warmup", "train", "eval", "checkpoint", "other")
]
NASTY = [
    *(None, True, False, 0, 1, -1, 2, 3, 49, 51, 10**9, 10**30, 10**400, -(10**400), 2**53 + 1),
    *(0.0, -0.0, 0.5, 1e-300, 1e300, 1e-9, 5e-324, 0.99991, 1.0, 1.0000001),
    *(math.nan, math.inf, -math.inf, [], {}, [[]], {"a": {"b": [1]}}, [None], ["epochs 3"]),
    *("", "0", "1e999", "NaN", "cpu", "mnist", "completed", "\x00", "a\nb", "\u202e", "\ud800"),
    *("<script>alert(1)</script>", "';--", "$(id)", "../../x", "=1+1", "a" * 400, "é"),
    *("2099-01-01T00:00:00Z", "2026-13-45T00:00:00Z", "2027-01-01"),
]
mutations = st.lists(
    st.tuples(
        st.integers(0, 10**6),
        st.one_of(
            st.sampled_from(NASTY).map(lambda value: ("set", value)),
            st.floats(allow_nan=True).map(lambda value: ("set", value)),
            st.integers(-5, 10**6).map(lambda value: ("set", value)),
            st.floats(0.5, 2.0).map(lambda value: ("scale", value)),
            st.text(max_size=20).map(lambda value: ("set", value)),
            st.sampled_from(["delete", "repeat", "swap"]).map(lambda value: (value, None)),
        ),
    ),
    min_size=1,
    max_size=3,
)
EXAMPLES = 5000


@pytest.mark.slow
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    derandomize=True,
)
@given(base=st.sampled_from(range(len(BASES))), changes=mutations)
def test_no_mutated_record_brings_a_traceback_or_gets_a_lie_accepted(
    tmp_path_factory, base, changes
):
    document = deepcopy(BASES[base])
    for place, change in changes:
        mutate(document, place, change)
    path = tmp_path_factory.getbasetemp() / "mutated.json"
    path.write_bytes(json.dumps(document).encode("ascii"))
    judge_and_report(path, document)


def test_no_damaged_file_brings_a_traceback(tmp_path):
    generator = random.Random(1)
    whole = json.dumps(BASES[0], indent=1).encode()
    path = tmp_path / "damaged.json"
    for _ in range(600):
        damaged = bytearray(whole)
        for _ in range(generator.randint(1, 4)):
            at = generator.randrange(len(damaged))
            kind = generator.random()
            if kind < 0.5:
                damaged[at] = generator.randrange(256)
            elif kind < 0.75:
                del damaged[at : at + generator.randint(1, 40)]
            else:
                damaged[at:at] = damaged[at : at + generator.randint(1, 40)]
        path.write_bytes(bytes(damaged))
        judge_and_report(path, None)


def judge_and_report(path: Path, document: dict | None) -> None:
    verdict = check_files([path], NOW)
    assert verdict.accepted or verdict.faults
    for fault in verdict.faults:
        assert str(fault).isprintable()
        assert ": " in str(fault)
    if verdict.accepted:
        document = document or json.loads(path.read_bytes())
        assert lies(document) == []
        summary = summarise(verdict.accepted)
        markdown(summary)
        flat_runs(summary)
        assert "<" not in json_block(payload(summary))


def mutate(document: dict, place: int, change: tuple) -> None:
    """Change one of all places in the document, however deep."""
    places = list(all_places(document))
    if not places:
        return
    holder, key = places[place % len(places)]
    kind, value = change
    if kind == "set":
        holder[key] = value
    elif kind == "scale" and isinstance(holder[key], (int, float)):
        # a whole number may be larger than any float
        with suppress(OverflowError):
            holder[key] = holder[key] * value
    elif kind == "delete":
        del holder[key]
    elif kind == "repeat" and isinstance(holder, list):
        holder.insert(key, deepcopy(holder[key]))
    elif kind == "swap" and isinstance(holder, list):
        holder[key], holder[0] = holder[0], holder[key]


def all_places(value):
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from all_places(inner)


def lies(document: dict) -> list[str]:
    """Every lie of the kinds that the rules name; written apart from the rules."""
    timing, work, result = document["timing"], document["workload"], document["result"]
    rows, found = document["epochs"], []
    if abs(timing["total_s"] - math.fsum(timing[name] for name in PHASES)) > 2e-6:
        found.append("phases")
    if [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)):
        found.append("order")
    if document["status"] == "completed":
        if len(rows) != work["epochs"]:
            found.append("epochs missing")
        if abs(math.fsum(row["train_s"] for row in rows) - timing["train_s"]) > 2e-6:
            found.append("epochs do not add up")
    if rows:
        if result["test_accuracy"] != rows[-1]["test_accuracy"]:
            found.append("accuracy")
        if abs(timing["first_epoch_s"] - rows[0]["train_s"]) > 2e-6:
            found.append("first epoch")
    if len(rows) > 1:
        steady_s = median(row["train_s"] for row in rows[1:])
        if abs(timing["steady_epoch_s"] - steady_s) > 2e-6:
            found.append("steady epoch")
    for row in rows:
        right = row["test_accuracy"] * work["n_test"]
        if not 0 <= row["test_accuracy"] <= 1 or abs(right - round(right)) > 0.01:
            found.append("part of an image")
        peak = 312e12 if document["hardware"]["accelerator"] != "cpu" else 13e12 * 4
        if work["flops_per_sample"] * work["n_train"] > row["train_s"] * peak * 20:
            found.append("too fast")
    sampled_s = math.fsum(timing[name] for name in PHASES[4:])
    if document["status"] == "completed":
        if not 0.85 * sampled_s - 4 <= document["resources"]["samples"] <= sampled_s + 2:
            found.append("samples")
        if work["steps_made"] != len(rows) * -(-work["n_train"] // work["batch_size"]):
            found.append("steps")
        if not all(timing[name] > 0 for name in PHASES):
            found.append("phase without time")
    engine, hardware = document["engine"], document["hardware"]
    on = bool(engine.get("switches") or engine.get("environment"))
    if engine["division"] != ("open" if engine.get("kernels") else "tuned" if on else "stock"):
        found.append("division")
    if engine["name"] == "lightning" and engine["framework"] != "PyTorch Lightning":
        found.append("framework")
    if hardware["threads"] > hardware["logical_cpus"]:
        found.append("threads")
    for name in ("train_s", "eval_s"):
        if any(abs(row[name] * 1e9 - round(row[name] * 1e9)) > 0.01 for row in rows):
            found.append("no clock's digits")
    if any(
        abs(row["train_accuracy"] * 6e4 - round(row["train_accuracy"] * 6e4)) > 0.1 for row in rows
    ):
        found.append("part of a training image")
    if document["platform"]["name"] == "cpu":
        if document["platform"]["kind"] != "local":
            found.append("kind")
        if document["platform"]["label"] != "CPU on bare metal or a virtual machine":
            found.append("label")
    deviates = (
        work["epochs"] != 50
        or work["batch_size"] != 64
        or work["learning_rate"] != 0.001
        or work["model"] != "cnn"
        or work["dataset"] != "mnist"
    )
    if work["standard"] is not (not work["deviations"]) or (deviates and work["standard"]):
        found.append("deviation")
    if datetime.fromisoformat(document["created_at"]).year > 2026:
        found.append("future")
    for holder, key in all_places(document):
        value = holder[key]
        if isinstance(value, float) and not math.isfinite(value):
            found.append("no number")
        if isinstance(value, str) and (not value.isprintable() or "<" in value):
            found.append("text")
    return found
