"""`mnist_gpu.train`, telling a pipe which stage it enters, so that a campaign can aim."""

import os
from collections.abc import Callable
from typing import Any

from mnist_gpu import train
from mnist_gpu.faults import STAGE_VARIABLE
from mnist_gpu.runs import checkpoint, execute
from mnist_gpu.timing.stopwatch import Stopwatch

# phases of the stopwatch, in the words of the campaign's table
WORDS = {
    "data": "start-up:data",
    "build": "start-up:build",
    "warmup": "start-up:warm-up",
    "train": "training",
    "eval": "evaluation",
}


def main() -> None:
    """Train as the command line says, and tell of every stage."""
    pipe = int(os.environ.pop(STAGE_VARIABLE))

    def tell(stage: str) -> None:
        os.write(pipe, f"{stage}\n".encode())

    enter = Stopwatch.enter

    def enter_and_tell(self: Stopwatch, phase: str, wait: bool = True) -> str:
        if phase in WORDS:
            tell(WORDS[phase])
        return enter(self, phase, wait)

    Stopwatch.enter = enter_and_tell  # type: ignore[method-assign]
    checkpoint.write = _telling(checkpoint.write, tell, "checkpoint-writing")
    checkpoint.write_weights = _telling(checkpoint.write_weights, tell, "weights-writing")
    execute.write_record = _telling(execute.write_record, tell, "record-writing")
    train.main()


def _telling(work: Callable[..., Any], tell: Callable[[str], None], stage: str) -> Any:
    def told(*arguments: Any) -> Any:
        tell(stage)
        result = work(*arguments)
        tell("between")
        return result

    return told


if __name__ == "__main__":
    main()
