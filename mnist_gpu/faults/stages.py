"""`mnist_gpu.train`, telling a pipe which stage it enters, so that a campaign can aim:
`python -m mnist_gpu.faults.stages DESCRIPTOR OVERRIDES`."""

import os
import sys
from collections.abc import Callable
from typing import Any

from mnist_gpu import train
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
    pipe = int(sys.argv.pop(1))

    def tell(stage: str) -> None:
        # so few bytes enter a pipe whole or not at all, whenever the kill comes
        os.write(pipe, f"{stage}\n".encode())

    def telling(work: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def told(*arguments: Any) -> Any:
            tell(stage)
            result = work(*arguments)
            tell("between")
            return result

        return told

    # of the class: the run makes its stopwatch itself
    enter = Stopwatch.enter

    def enter_and_tell(self: Stopwatch, phase: str, wait: bool = True) -> str:
        if phase in WORDS:
            tell(WORDS[phase])
        return enter(self, phase, wait)

    # a run looks all of these up where they stand, at each call
    Stopwatch.enter = enter_and_tell  # type: ignore[method-assign]
    checkpoint.write = telling(checkpoint.write, "checkpoint-writing")
    checkpoint.write_weights = telling(checkpoint.write_weights, "weights-writing")
    execute.write_record = telling(execute.write_record, "record-writing")
    train.main()


if __name__ == "__main__":
    main()
