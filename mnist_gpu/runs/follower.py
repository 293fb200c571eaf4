"""A process that follows the first one of its run: it trains its share and leaves nothing behind.

Started by `ranks` as `python -m mnist_gpu.runs.follower`, with the settings on its standard input,
or by torchrun or Slurm as the same command line as the first.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from mnist_gpu import data
from mnist_gpu.config.compose import check, compose_config
from mnist_gpu.config.settings import Settings
from mnist_gpu.data import shared
from mnist_gpu.errors import UserError
from mnist_gpu.measure.rank import here
from mnist_gpu.protocol.dataset import Dataset
from mnist_gpu.runs import process, ranks
from mnist_gpu.runs.building import engine_of
from mnist_gpu.runs.outcome import failure
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Timeline


def follow_arguments(arguments: Sequence[str]) -> None:
    """Follow as one of the processes that torchrun or Slurm started with this command line.

    Raises:
        UserError: a sweep, or what the first process refuses too.
    """
    if any(argument in ("-m", "--multirun") for argument in arguments):
        raise UserError("a sweep starts its processes itself: leave out torchrun or srun")
    follow_settings(check(compose_config(arguments)))


def follow_settings(settings: Settings) -> None:
    """Follow as one of the processes that torchrun or Slurm started.

    Raises:
        UserError: they do not fit the devices asked for, or training failed.
    """
    rank = here()
    ranks.refuse_misfit(settings, rank)
    with ExitStack() as published:
        if rank.local == 0:
            # the first of another machine
            dataset = data.load(settings.data.model_dump(), announce=lambda line: None)
            published.enter_context(shared.published(dataset, ranks.job_folder()))
        else:
            dataset = shared.attached(ranks.job_folder())
        follow(settings, dataset)


def follow(settings: Settings, dataset: Dataset) -> None:
    """Train this process's share of every batch until the first process is done.

    Raises:
        UserError: training failed; not when the first process ended it.
    """
    engine = engine_of(settings, dataset)
    # what the others do about a signal is for the first process to say
    asked: list[int] = []
    with process.noted(asked.append):
        try:
            engine.build()
            engine.warm_up()
            engine.fit(Timeline(Stopwatch(synchronise=engine.synchronise), settings.epochs))
        except Exception as exc:  # frameworks raise their own kinds
            if not asked:
                raise UserError(f"process {here().number}: {failure(exc)}") from None
        finally:
            engine.close()


def main() -> int:
    """Read the settings, train along, end."""
    given = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_leader, daemon=True).start()
    try:
        follow(Settings(**given["settings"]), shared.attached(Path(given["data"])))
    except UserError:
        # the first process loses its connection to this one, and says so
        return 1
    return 0


def _end_with_the_leader() -> None:
    """End this process soon after standard input, a pipe from the first process, has closed."""
    with suppress(OSError, ValueError):
        while sys.stdin.read(1):
            pass
    time.sleep(ranks.PATIENCE_S)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
