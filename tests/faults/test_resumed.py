"""After a fault: one process at a time goes on with what is left, and does only what is missing."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import mnist_gpu
from mnist_gpu.faults import campaign
from mnist_gpu.runs import checkpoint
from mnist_gpu.runs.folder import held
from mnist_gpu.train import run_app
from tests import faulty
from tests.faulty import raises, record_of, refusal


def test_a_run_that_is_being_worked_on_is_not_resumed_by_another(here, quick):
    faulty.installed(train_epoch=raises(RuntimeError("stopped")))
    refusal(quick)
    folder = next(here.glob("outputs/cpu/*"))
    faulty.installed()
    with held(folder):
        assert "another process is working on this run" in refusal([*quick, f"resume={folder}"])
        assert mnist_gpu.run([*quick, "resume=auto"]).timing.segments == 1
    complete = next(p for p in here.glob("outputs/cpu/*") if p != folder)
    assert "nothing is left to do" in refusal([*quick, f"resume={complete}"])


def test_a_resumed_run_counts_what_its_earlier_segments_used(here, quick, monkeypatch):
    from mnist_gpu.measure.energy import EnergyMeter

    faulty.installed(train_epoch=raises(RuntimeError("stopped")))
    # every segment uses 5 J, whatever this machine can read
    monkeypatch.setattr(EnergyMeter, "total_j", property(lambda meter: 5.0))
    refusal(quick)
    assert record_of(here).resources.energy_j == 5.0
    faulty.installed()
    assert mnist_gpu.run([*quick, "resume=auto"]).resources.energy_j == 10.0


def test_a_checkpoint_that_does_not_fit_the_network_is_refused(here, quick):
    faulty.installed(train_epoch=raises(RuntimeError("stopped")))
    refusal(quick)
    folder = next(here.glob("outputs/cpu/*"))
    path = next(folder.glob("checkpoints/epoch-*.npz"))
    found = checkpoint.read(path)
    found.state["weights/fc1.weight"] = np.zeros(1, np.float32)
    checkpoint.write(found, path)
    faulty.installed()
    line = refusal([*quick, f"resume={folder}"])
    assert "does not fit this network: weights/fc1.weight" in line


@pytest.mark.slow
def test_a_short_campaign_of_kills_finds_nothing_wrong(tmp_path):
    overrides = ["engine=torch", "model=mlp", "epochs=3"]
    done = campaign.carry_out(tmp_path, 4, seed=1, overrides=overrides)
    assert done.faults == []
    assert done.kills >= 4
    assert sum(done.stages.values()) == done.kills


def test_a_sweep_that_is_run_again_does_only_what_is_missing(here, digits, capsys):
    def train(*overrides: str) -> str:
        code = run_app([*sweep, *overrides])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed.out

    sweep = ["-m", "platform=cpu", "engine=torch", "model=mlp", "epochs=1", *digits]
    train("seed=0,1,2,3")
    first = {json.loads(p.read_text())["workload"]["seed"]: p for p in records(here)}
    assert sorted(first) == [0, 1, 2, 3]
    first[1].unlink()
    half = first[2].read_text()
    first[2].write_text(half[: len(half) // 2])
    changed = json.loads(first[3].read_text())
    changed["timing"]["train_s"] *= 2
    first[3].write_text(json.dumps(changed))
    again = train("seed=0,1,2,3")
    assert again.count("already there") == 1
    assert re.search(r"^4 runs", again, re.MULTILINE)
    new = records(here) - set(first.values())
    assert sorted(json.loads(p.read_text())["workload"]["seed"] for p in new) == [1, 2, 3]
    third = train("seed=0,1", "learning_rate=0.001,0.01")
    assert third.count("already there") == 2
    assert "already there" not in train("seed=0", "force=true")


def records(here) -> set[Path]:
    return set(here.glob("multirun/*/*/record.json"))
