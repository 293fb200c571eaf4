"""Kill a run with SIGKILL at random instants, resume it, and check everything that it leaves."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path

from mnist_gpu.errors import UserError
from mnist_gpu.faults import small
from mnist_gpu.records.schema import Record
from mnist_gpu.records.store import read_record
from mnist_gpu.runs import checkpoint
from mnist_gpu.timing.stopwatch import PHASES

# a run that is resumed for ever would never end; so many attempts are a fault of ours
MOST_ATTEMPTS = 40
# of one run, before it is left in peace
MOST_KILLS = 6
ADDS_UP_S = 1e-6
READERS: dict[str, Callable[[Path], object]] = {
    "record.json": read_record,
    "epoch-*.npz": checkpoint.read,
    "weights.npz": checkpoint.read_weights,
}
# a stage, and seconds
Instant = tuple[str, float]


@dataclass
class Campaign:
    """What a campaign came to: what each process did when it was killed, attempts after a kill that
    left no checkpoint, the segments of each run that was brought to its end, files that were read
    back, and what was wrong, a line each.
    """

    attempt_s: float  # of a run that nobody disturbs
    stages: Counter[str] = field(default_factory=Counter)
    fresh_starts: int = 0
    segments: list[int] = field(default_factory=list)
    files: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return self.stages.total()


def carry_out(
    folder: Path,
    kills: int,
    seed: int = 0,
    overrides: Sequence[str] = ("engine=torch", "model=mlp", "epochs=6"),
) -> Campaign:
    """Kill at least so many processes, at instants drawn from the seed, of as many runs as it takes
    in an empty folder; every run is brought to its end.

    Raises:
        UserError: the run fails when nobody disturbs it.
    """
    arguments = ["platform=cpu", *small.write(folder / "data"), *overrides]
    code, stages, output = _attempt(folder / "whole", arguments)
    if code != 0:
        raise UserError(f"the undisturbed run failed: {output[-500:]}")
    whole = read_record(next((folder / "whole").rglob("record.json")))
    campaign = Campaign(attempt_s=stages[-1][1] - stages[0][1])
    instants = _instants(seed, stages)
    number = 0
    while campaign.kills < kills:
        number += 1
        where = folder / f"run-{number:03d}"
        record = _until_complete(where, arguments, instants, campaign, kills)
        if record is not None:
            campaign.segments.append(record.timing.segments)
            campaign.faults += [f"{where.name}: {fault}" for fault in _differences(record, whole)]
        print(f"{where.name}: {campaign.kills} kills, {len(campaign.faults)} faults", flush=True)
    return campaign


def _instants(seed: int, stages: list[Instant]) -> Iterator[Instant]:
    """When to kill: in each stage as often as in the others, at a random moment within it."""
    rng = random.Random(seed)  # noqa: S311 - instants, not secrets
    lasts_s: dict[str, float] = {}
    for (stage, began), (_, ended) in pairwise(stages):
        lasts_s[stage] = max(lasts_s.get(stage, 0.0), ended - began)
    while True:
        for stage in rng.sample(list(lasts_s), len(lasts_s)):
            yield stage, rng.uniform(0.0, lasts_s[stage])


def _until_complete(
    where: Path, arguments: list[str], instants: Iterator[Instant], campaign: Campaign, kills: int
) -> Record | None:
    """The record of one run, over as many attempts as it takes; None if there is none."""
    for number in range(MOST_ATTEMPTS):
        spared = campaign.kills >= kills or number >= MOST_KILLS
        kill_at = ("", 0.0) if spared else next(instants)
        code, stages, output = _attempt(where, [*arguments, "resume=auto"], kill_at)
        campaign.files += sum(1 for path in where.rglob("*") if path.suffix in (".npz", ".json"))
        campaign.faults += [f"{where.name}: {fault}" for fault in _half_written(where)]
        if code == 0:
            return _complete(where, campaign)
        if code != -signal.SIGKILL:
            campaign.faults.append(f"{where.name}: exit code {code}: {output[-300:]}")
            return None
        # the last entry is the end: it died in the one before
        campaign.stages[stages[-2][0]] += 1
    campaign.faults.append(f"{where.name}: not complete after {MOST_ATTEMPTS} attempts")
    return None


def _attempt(
    where: Path, arguments: list[str], kill_at: Instant = ("", 0.0)
) -> tuple[int, list[Instant], str]:
    """Run once, in a process that tells its stages through a pipe, and perhaps kill it.

    Returns its exit code, each stage with when it was entered (the last is the end), and what it
    printed.
    """
    where.mkdir(parents=True, exist_ok=True)
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "mnist_gpu.faults.stages", str(writer), *arguments],
        cwd=where,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=[writer],
    )
    # the pipe ends when the process does, and nobody else holds it open
    os.close(writer)
    stages: list[Instant] = []
    stage, after_s = kill_at
    timer = threading.Timer(after_s, process.kill)
    with os.fdopen(reader) as told:
        for line in chain(["start-up"], told):
            stages.append((line.strip(), time.monotonic()))
            # the first time that the stage comes; a thread starts but once
            if line.strip() == stage and timer.ident is None:
                timer.start()
    output, _ = process.communicate()
    timer.cancel()
    return process.returncode, [*stages, ("", time.monotonic())], output


def _half_written(folder: Path) -> Iterator[str]:
    """Every record, checkpoint and weights file under `folder` that is not whole."""
    for pattern, read in READERS.items():
        for path in folder.rglob(pattern):
            try:
                read(path)
            except UserError as exc:
                yield str(exc)


def _complete(where: Path, campaign: Campaign) -> Record | None:
    records = {path: read_record(path) for path in where.rglob("record.json")}
    # a process that is killed before its first checkpoint leaves nothing to resume
    campaign.fresh_starts += len(list(where.glob("outputs/*/*"))) - 1
    for record_path in records:
        for path in record_path.parent.rglob(".*"):
            if path.suffix == ".partial" or path.name.startswith(".record.json."):
                campaign.faults.append(f"{where.name}: {path.name} left behind")
    complete = [record for record in records.values() if record.status == "completed"]
    if not complete:
        campaign.faults.append(f"{where.name}: exit code 0 without a record")
    return complete[-1] if complete else None


def _differences(record: Record, whole: Record) -> Iterator[str]:
    """In what a run that was killed and resumed differs from the one that never was."""
    if record.result.weights_sha256 != whole.result.weights_sha256:
        yield "other weights"
    # to the last bit: a resumed run draws the same numbers
    losses = [(row.epoch, row.train_loss, row.test_loss) for row in record.epochs]
    if losses != [(row.epoch, row.train_loss, row.test_loss) for row in whole.epochs]:
        yield "another history"
    timing = record.timing
    parts_s = sum(getattr(timing, f"{phase}_s") for phase in PHASES)
    if abs(parts_s - timing.total_s) > ADDS_UP_S:
        yield f"phases make {parts_s} s, the whole is {timing.total_s} s"
    if abs(sum(row.train_s for row in record.epochs) - timing.train_s) > ADDS_UP_S:
        yield "the epochs do not make up train_s"
