"""The processes of one run on several devices: which one is this, starting the others, following.

Process 0 is the run: it prints, saves, and writes the one record. The others train their share and
leave nothing behind. They are started by torchrun or Slurm, as the same command line, or else here
(`python -m mnist_gpu.runs.ranks`), one for each further device of this machine, as
`LightningEnvironment` describes for processes that somebody else starts: Lightning's own launcher
would repeat the command line, which in a sweep is the whole sweep.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mnist_gpu import data
from mnist_gpu.config.compose import check, compose_config
from mnist_gpu.config.settings import Settings
from mnist_gpu.errors import UserError
from mnist_gpu.measure.rank import MARK, Rank, here
from mnist_gpu.protocol.dataset import Dataset
from mnist_gpu.runs.building import opened
from mnist_gpu.runs.outcome import failure
from mnist_gpu.runs.process import environment, noted
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Timeline

FOLLOWER = "mnist_gpu.runs.ranks"
PATIENCE_S = 10.0


def refuse_misfit(settings: Settings, rank: Rank) -> None:
    """Refuse processes that are not as many as the devices asked for, saying what to change."""
    if rank.started_by in ("nobody", "mnist-gpu"):
        if settings.num_nodes > 1:
            raise UserError(
                f"num_nodes={settings.num_nodes}: start a process for each device with torchrun or"
                " srun (docs/scale.md)"
            )
    elif rank.world != settings.world:
        raise UserError(
            f"devices={settings.devices} num_nodes={settings.num_nodes}: {rank.started_by} started"
            f" {rank.world} processes, {settings.world} are needed"
        )


@contextmanager
def gathered(settings: Settings, dataset: Dataset) -> Iterator[None]:
    """Within the block the run's other processes are on their way, and they go with it.

    Raises:
        UserError: the processes that are there do not fit the devices asked for.
    """
    rank = here()
    refuse_misfit(settings, rank)
    if settings.world == 1:
        yield
        return
    with ExitStack() as going:
        starts = rank.started_by == "nobody"
        if starts:
            folder = going.enter_context(tempfile.TemporaryDirectory(prefix="mnist-gpu-"))
            going.enter_context(environment(_first_of(settings.devices, Path(folder, "data"))))
        # before the others start: they map what they find
        going.enter_context(data.published(dataset, job_folder()))
        if starts:
            going.callback(_end, _start(settings))
        yield


def follows() -> bool:
    """Whether another process leads this one's run."""
    return here().number > 0


def job_folder() -> Path:
    """Where a run's processes on this machine meet: one name for all of one start, for this user
    alone."""
    if named := os.environ.get(MARK):
        return Path(named)
    if here().started_by == "slurm":
        names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
        key = "-".join(os.environ.get(name, "0") for name in names)
    else:
        # torchrun's agent is the parent of all its processes on this machine
        key = f"{os.getppid()}-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    return Path(tempfile.gettempdir()) / f"mnist-gpu-{os.getuid()}-{key}"


def _first_of(world: int, data: Path) -> dict[str, str]:
    """What Lightning and the followers look for in the environment of the first process."""
    with socket.socket() as probe:
        # the system names a port that is free
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {
        MARK: str(data),
        "RANK": "0",
        "LOCAL_RANK": "0",
        "NODE_RANK": "0",
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def _start(settings: Settings) -> list[subprocess.Popen[str]]:
    others = []
    for local in range(1, settings.devices):
        process = subprocess.Popen(
            [sys.executable, "-m", FOLLOWER],
            env={**os.environ, "RANK": str(local), "LOCAL_RANK": str(local)},
            stdin=subprocess.PIPE,
            # what it says the first process says, too; its errors are shown
            stdout=subprocess.DEVNULL,
            text=True,
            # Ctrl-C is for the first process, which tells the others when to end
            start_new_session=True,
        )
        assert process.stdin is not None
        process.stdin.write(settings.model_dump_json() + "\n")
        # it stays open: a follower ends when its leader is gone
        process.stdin.flush()
        others.append(process)
    return others


def _end(others: list[subprocess.Popen[str]]) -> None:
    """Let the others end by themselves; after a while, end them."""
    for process in others:
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
    for process in others:
        try:
            process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def follow_arguments(arguments: Sequence[str]) -> None:
    """Follow as one of the processes that torchrun or Slurm started with this command line; a sweep
    is refused, and what the first process refuses too."""
    if any(argument in ("-m", "--multirun") for argument in arguments):
        raise UserError("a sweep starts its processes itself: leave out torchrun or srun")
    follow_settings(check(compose_config(arguments)))


def follow_settings(settings: Settings) -> None:
    """Train this process's share of every batch until the first process is done.

    Raises:
        UserError: the processes do not fit the devices asked for, or training failed; not when the
            first process ended it.
    """
    rank = here()
    refuse_misfit(settings, rank)
    # what the others do about a signal is for the first process to say
    asked: list[int] = []
    with ExitStack() as held:
        if rank.local == 0:
            # the first of another machine
            dataset = data.load(settings.data.model_dump(), announce=lambda line: None)
            held.enter_context(data.published(dataset, job_folder()))
        else:
            # mapped: one copy in memory for all processes of a machine
            dataset = data.attached(job_folder())
        held.enter_context(noted(asked.append))
        stopwatch = Stopwatch()
        try:
            with opened(settings, dataset, stopwatch) as engine:
                engine.warm_up()
                engine.fit(Timeline(stopwatch, settings.epochs))
        except Exception as exc:  # frameworks raise their own kinds
            if not asked:
                raise UserError(f"process {rank.number}: {failure(exc)}") from None


def main() -> int:
    """Read the settings, train along, end."""
    settings = Settings.model_validate_json(sys.stdin.readline())
    # a collective operation waits in C for a peer that may be gone
    threading.Thread(target=_end_with_the_leader, daemon=True).start()
    try:
        follow_settings(settings)
    except UserError:
        # the first process loses its connection to this one, and says so
        return 1
    return 0


def _end_with_the_leader() -> None:
    """End this process soon after standard input, a pipe from the first process, has closed."""
    with suppress(OSError, ValueError):
        while sys.stdin.read(1):
            pass
    time.sleep(PATIENCE_S)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
