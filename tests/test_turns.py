"""What the bench compares takes turns, each in a process of its own, and how sure a ratio is."""

import os
from collections.abc import Callable

import pytest

from mnist_gpu.bench.tables import paired_ratio
from mnist_gpu.bench.turns import interleave
from mnist_gpu.errors import UserError


def tells_its_process() -> Callable[[], int]:
    return os.getpid


def cannot_be_made_ready() -> Callable[[], int]:
    raise ValueError("no such switch")


def fails_in_its_turn() -> Callable[[], int]:
    def work() -> int:
        raise ValueError("the device is lost")

    return work


def test_each_task_has_a_process_of_its_own_and_keeps_it() -> None:
    found = interleave({"one": tells_its_process, "other": tells_its_process}, repeats=2)
    processes = {name: set(pids) for name, pids in found.items()}
    assert [len(pids) for pids in found.values()] == [2, 2]
    assert all(len(pids) == 1 for pids in processes.values())
    assert len({os.getpid()}.union(*processes.values())) == 3


def test_what_fails_is_left_out_and_said_and_the_others_go_on() -> None:
    refused: list[str] = []
    tasks = {"a": cannot_be_made_ready, "b": fails_in_its_turn, "c": tells_its_process}
    assert list(interleave(tasks, 1, refused)) == ["c"]
    assert refused == ["a: no such switch", "b: the device is lost"]


@pytest.mark.parametrize("task", [cannot_be_made_ready, fails_in_its_turn])
def test_a_failure_that_nobody_asked_to_be_told_of_is_an_error(task: Callable[[], object]) -> None:
    with pytest.raises(UserError, match=r"bench: it: (no such|the device)"):
        interleave({"it": task}, 1)  # type: ignore[dict-item]


def test_what_pairs_in_a_row_have_in_common_by_chance_widens_the_interval() -> None:
    lucks = 7 * [1.03] + 3 * [0.97]
    ones = [luck for luck in lucks for _ in range(10)]
    assert paired_ratio(ones, 100 * [1.0]) == "1.030 (1.030 to 1.030)"
    assert paired_ratio(ones, 100 * [1.0], together=10) == "1.030 (0.970 to 1.030)"
