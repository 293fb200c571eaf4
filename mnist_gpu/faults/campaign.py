"""Kill a run with SIGKILL at random instants, resume it, and check everything that it leaves."""

import os
import random
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mnist_gpu.errors import UserError
from mnist_gpu.faults import STAGE_VARIABLE, small
from mnist_gpu.records.schema import Record
from mnist_gpu.records.store import read_record
from mnist_gpu.runs import checkpoint
from mnist_gpu.timing.stopwatch import PHASES

# a run that is resumed for ever would never end; so many attempts are a fault of ours
MOST_ATTEMPTS = 40
# of one run, before it is left in peace
MOST_KILLS = 6
ADDS_UP_S = 1e-6


@dataclass
class Campaign:
    """What a campaign came to.

    Attributes:
        kills: how many processes were killed.
        stages: what each of them was doing.
        runs: how many runs were brought to their end over those kills.
        faults: what was wrong, a line each; empty when everything held.
        attempt_s: how long an undisturbed attempt lasts.
    """

    kills: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    fresh_starts: int = 0
    segments: list[int] = field(default_factory=list)
    files: int = 0
    faults: list[str] = field(default_factory=list)
    attempt_s: float = 0.0


def carry_out(
    folder: Path,
    kills: int,
    seed: int = 0,
    overrides: Sequence[str] = ("engine=torch", "model=mlp", "epochs=6"),
    say: Callable[[str], None] = print,
) -> Campaign:
    """Kill `kills` processes of as many runs as it takes; every run is brought to its end.

    Args:
        folder: an empty one, for the data and the runs.
        kills: how many processes to kill at least.
        seed: of the instants.
        overrides: of the run.
        say: told of every run.
    """
    rng = random.Random(seed)  # noqa: S311 - instants, not secrets
    arguments = ["platform=cpu", *small.write(folder / "data"), *overrides]
    campaign = Campaign()
    whole, stages, campaign.attempt_s = _undisturbed(folder / "whole", arguments)
    stops = _Instants(rng, stages)
    while campaign.kills < kills:
        campaign.runs += 1
        where = folder / f"run-{campaign.runs:03d}"
        record = _until_complete(where, arguments, stops, campaign, kills)
        if record is not None:
            campaign.segments.append(record.timing.segments)
            campaign.faults += [f"{where.name}: {fault}" for fault in differences(record, whole)]
        say(f"{where.name}: {campaign.kills} kills, {len(campaign.faults)} faults")
    return campaign


def differences(record: Record, whole: Record) -> list[str]:
    """In what a run that was killed and resumed differs from the one that never was."""
    faults = []
    if record.status != "completed":
        faults.append(f"status {record.status}: {record.status_reason}")
    if record.result.weights_sha256 != whole.result.weights_sha256:
        faults.append("other weights")
    losses = [(row.epoch, row.train_loss, row.test_loss) for row in record.epochs]
    if losses != [(row.epoch, row.train_loss, row.test_loss) for row in whole.epochs]:
        faults.append("another history")
    timing = record.timing
    parts = sum(getattr(timing, f"{phase}_s") for phase in PHASES)
    if abs(parts - timing.total_s) > ADDS_UP_S:
        faults.append(f"phases make {parts} s, the whole is {timing.total_s} s")
    if abs(sum(row.train_s for row in record.epochs) - timing.train_s) > ADDS_UP_S:
        faults.append("the epochs do not make up train_s")
    return faults


def half_written(folder: Path) -> list[str]:
    """Every record, checkpoint and weights file under `folder` that is not whole."""
    faults = []
    for path in folder.rglob("record.json"):
        try:
            read_record(path)
        except UserError as fault:
            faults.append(str(fault))
    for path in folder.rglob("epoch-*.npz"):
        try:
            checkpoint.read(path)
        except UserError as fault:
            faults.append(str(fault))
    for path in folder.rglob("weights.npz"):
        try:
            checkpoint.read_weights(path)
        except UserError as fault:
            faults.append(str(fault))
    return faults


class _Instants:
    """When to kill: a stage, each as often as the others, and a moment within it."""

    def __init__(self, rng: random.Random, stages: dict[str, float]) -> None:
        self._rng = rng
        self._stages = {name: lasts_s for name, lasts_s in stages.items() if name != "end"}
        self._left: list[str] = []

    def next(self) -> tuple[str, float]:
        """The stage in which to kill, and how many seconds after it was entered."""
        if not self._left:
            self._left = list(self._stages)
            self._rng.shuffle(self._left)
        stage = self._left.pop()
        return stage, self._rng.uniform(0.0, self._stages[stage])


def _until_complete(
    where: Path, arguments: list[str], stops: _Instants, campaign: Campaign, kills: int
) -> Record | None:
    for attempt in range(MOST_ATTEMPTS):
        spared = campaign.kills >= kills or attempt >= MOST_KILLS
        stop = None if spared else stops.next()
        code, stage, output = _attempt(where, [*arguments, "resume=auto"], stop)
        campaign.files += sum(1 for path in where.rglob("*") if path.suffix in (".npz", ".json"))
        campaign.faults += [f"{where.name}: {fault}" for fault in half_written(where)]
        if code == -signal.SIGKILL:
            campaign.kills += 1
            campaign.stages[stage] += 1
            continue
        if code != 0:
            campaign.faults.append(f"{where.name}: exit code {code}: {output[-300:]}")
            return None
        return _only_complete(where, campaign)
    campaign.faults.append(f"{where.name}: not complete after {MOST_ATTEMPTS} attempts")
    return None


def _only_complete(where: Path, campaign: Campaign) -> Record | None:
    records = [read_record(path) for path in where.rglob("record.json")]
    # a process that is killed before its first checkpoint leaves nothing to resume
    campaign.fresh_starts += len(list(where.glob("outputs/*/*"))) - 1
    complete = [record for record in records if record.status == "completed"]
    if not complete:
        campaign.faults.append(f"{where.name}: exit code 0 without a record")
        return None
    for record_path in where.rglob("record.json"):
        for path in record_path.parent.rglob(".*"):
            if path.suffix == ".partial" or path.name.startswith(".record.json."):
                campaign.faults.append(f"{where.name}: {path.name} left behind")
    return complete[-1]


def _undisturbed(where: Path, arguments: list[str]) -> tuple[Record, dict[str, float], float]:
    marks: list[tuple[str, float]] = []
    began = time.monotonic()
    code, _, output = _attempt(where, arguments, None, marks)
    lasted_s = time.monotonic() - began
    if code != 0:
        raise UserError(f"the undisturbed run failed: {output[-500:]}")
    ends = [at for _, at in marks[1:]] + [began + lasted_s]
    stages: dict[str, float] = {}
    for (name, at), end in zip(marks, ends, strict=True):
        stages[name] = max(stages.get(name, 0.0), end - at)
    return read_record(next(where.rglob("record.json"))), stages, lasted_s


def _attempt(
    where: Path,
    arguments: list[str],
    stop: tuple[str, float] | None,
    marks: list[tuple[str, float]] | None = None,
) -> tuple[int, str, str]:
    """Run once, kill at `stop`; return the exit code, the last stage seen and the output."""
    where.mkdir(parents=True, exist_ok=True)
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "mnist_gpu.faults.stages", *arguments],
        cwd=where,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=[writer],
        env={**os.environ, STAGE_VARIABLE: str(writer)},
    )
    os.close(writer)
    stage = "start-up"
    if marks is not None:
        marks.append((stage, time.monotonic()))
    due = time.monotonic() + stop[1] if stop is not None and stop[0] == stage else None
    with selectors.DefaultSelector() as selector, os.fdopen(reader, "rb", buffering=0) as told:
        selector.register(told, selectors.EVENT_READ)
        while True:
            wait_s = None if due is None else max(0.0, due - time.monotonic())
            if not selector.select(wait_s):
                process.kill()
                break
            content = told.read(4096)
            if not content:
                break
            for name in content.decode().split():
                stage = name
                if marks is not None:
                    marks.append((stage, time.monotonic()))
                if stop is not None and stop[0] == stage and due is None:
                    due = time.monotonic() + stop[1]
    output, _ = process.communicate()
    return process.returncode, stage, output
