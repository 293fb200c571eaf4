"""What is printed may go nowhere: runs and sweeps end all the same, with the right exit code."""

import io
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import mnist_gpu
from mnist_gpu import engines, output
from mnist_gpu.__main__ import main as command_line
from mnist_gpu.faults import small
from mnist_gpu.records.store import read_record
from mnist_gpu.runs.console import Progress
from mnist_gpu.timing.stopwatch import Stopwatch
from mnist_gpu.timing.timeline import Epoch, Timeline
from tests import faulty

PYTHON = shlex.quote(sys.executable)
CHATTY = (
    "import runpy, sys\n"
    "from tests import faulty\n"
    "def talk(engine):\n"
    "    print('x' * 100_000)\n"
    "    print('y', flush=True)\n"
    "    print('z' * 100_000, file=sys.stderr)\n"
    "faulty.installed(train_epoch=talk)\n"
    "runpy.run_module('mnist_gpu.train', run_name='__main__')\n"
)
READERS = {
    "closed": ">&-",
    "all closed": "<&- >&- 2>&-",
    "a reader of one line": "2>&1 | head -1 >seen",
    "nobody": "2>&1 | true",
    "a full disk": ">/dev/full",
    "full disks": ">/dev/full 2>/dev/full",
}


@pytest.fixture(scope="session")
def digits(tmp_path_factory) -> list[str]:
    return small.write(tmp_path_factory.mktemp("digits"), 640, 128)


@pytest.fixture
def quick(digits, tmp_path, monkeypatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engines, "find", engines.find)
    (tmp_path / "run.py").write_text(CHATTY)
    return ["platform=cpu", "engine=torch", "model=mlp", "epochs=2", "logger=none", *digits]


def shell(line: str, folder: Path) -> int:
    root = str(Path(__file__).parents[1])
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=120,
        check=False,
    ).returncode


@pytest.mark.parametrize("reader", READERS)
def test_a_sweep_finishes_its_jobs_when_nobody_is_left_to_read(quick, tmp_path, reader):
    arguments = f"run.py {' '.join(quick)} -m seed=0,1"
    line = f"{PYTHON} {arguments} {READERS[reader]}; exit ${{PIPESTATUS[0]}}"
    assert shell(line, tmp_path) == 0
    records = [read_record(path) for path in tmp_path.glob("multirun/*/*/record.json")]
    assert [record.status for record in records] == ["completed", "completed"]


@pytest.mark.parametrize("reader", ["closed", "a reader of one line", "a full disk"])
def test_what_fails_unread_still_has_its_exit_code(quick, tmp_path, reader):
    line = f"{PYTHON} run.py {' '.join(quick)} data.dir=/nowhere {READERS[reader]}"
    assert shell(f"{line}; exit ${{PIPESTATUS[0]}}", tmp_path) == 1


@pytest.mark.parametrize("command", ["validate .", "validate --rules", "report . --out out"])
def test_other_commands_survive_their_readers_too(tmp_path, command):
    from tests.records import make_record

    (tmp_path / "record.json").write_text(make_record().model_dump_json())
    for reader in (">&-", "2>&1 | true", ">/dev/full 2>&1"):
        line = f"{PYTHON} -m mnist_gpu.{command} {reader}; exit ${{PIPESTATUS[0]}}"
        assert shell(line, tmp_path) == 0, reader


@pytest.mark.parametrize("command", ["report --estimates -", "validate .", "doctor --deep"])
def test_ctrl_c_ends_a_command_in_one_line(tmp_path, monkeypatch, capsys, command):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mnist-gpu"])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "read", interrupted, raising=False)
    monkeypatch.setattr("mnist_gpu.records.rules.check_files", interrupted)
    monkeypatch.setattr("mnist_gpu.checks.examine", interrupted)
    with pytest.raises(SystemExit) as ended:
        command_line(command.split())
    assert ended.value.code == 130
    assert capsys.readouterr().err == "mnist-gpu: interrupted\n"


def test_a_terminal_that_goes_away_does_not_end_a_run_that_is_told_to_go_on(quick, tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["nohup", sys.executable, "run.py", *quick],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    os.close(theirs)
    said = b""
    while b"\n" not in said:  # what nohup itself says, before it runs anything
        said += os.read(ours, 1000)
    os.close(ours)
    assert process.wait(60) == 0
    [path] = tmp_path.glob("outputs/*/*/record.json")
    assert read_record(path).status == "completed"


@pytest.mark.parametrize("stream", ["none", "closed", "broken", "ascii"])
def test_a_run_from_python_needs_no_standard_output(quick, monkeypatch, stream):
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    closed = io.StringIO()
    closed.close()
    ascii_only = io.TextIOWrapper(io.BytesIO(), "ascii")
    streams = {"none": None, "closed": closed, "broken": Broken(), "ascii": ascii_only}
    faulty.installed()
    monkeypatch.setattr(sys, "stdout", streams[stream])
    assert mnist_gpu.run(quick).status == "completed"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_a_progress_line_never_wraps_and_redraws_at_most_twice_a_second(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    now = [0.0]
    screen = Terminal()
    progress = Progress(938, 60_000, screen, lambda: now[0])
    timeline = Timeline(Stopwatch(), 50)
    progress.began(timeline)
    row = Epoch(
        epoch=1, train_s=9.0, eval_s=0.5, train_loss=0.25, train_accuracy=0.9, test_loss=0.2,
        test_accuracy=0.95,
    )  # fmt: skip
    for epoch in (1, 2):
        for step in range(0, 938):
            now[0] += 0.01
            progress.progressed(epoch, step)
        progress.epoch_ended(row)
    lines = re.split(r"\r\x1b\[K", screen.getvalue())
    assert max(map(len, lines)) < columns
    assert "\n" not in screen.getvalue()
    assert 2 * 9.38 * 2 - 2 < len(lines) < 2 * 9.38 * 2 + 4
    assert lines[-1].startswith("epoch 2/50")
    if columns == 200:
        assert "test 95.00%" in lines[-1]
        assert "━" in lines[-1]


def test_a_stream_that_breaks_is_put_out_of_the_way_of_everybody_who_shares_it(tmp_path):
    (tmp_path / "run.py").write_text(
        "import os, sys\n"
        "from mnist_gpu import output\n"
        "with output.surviving():\n"
        "    print('x', flush=True)\n"
        "    os.write(1, b'from a library in C')\n"
        "    sys.stdout.buffer.write(b'bytes')\n"
        "os._exit(7)\n"
    )
    assert shell(f"{PYTHON} run.py >/dev/full", tmp_path) == 7


def test_a_slow_reader_is_not_given_up():
    class Slow(io.StringIO):
        full = True

        def write(self, text):
            if self.full:
                raise BlockingIOError
            return super().write(text)

    slow = Slow()
    stream = output.Output(slow)
    stream.write("lost")
    slow.full = False
    stream.write("seen")
    assert slow.getvalue() == "seen"


def test_what_hosts_the_command_keeps_its_streams_whatever_a_library_closes(monkeypatch):
    host = io.StringIO()
    monkeypatch.setattr(sys, "stderr", host)
    with output.surviving():
        # what absl's logging handler does with a stream that it was given before
        if host not in (sys.stderr, sys.stdout):
            host.close()
        sys.stderr.close()
        print("still here", file=sys.stderr)
    assert host.getvalue() == "still here\n"


def test_the_first_lines_name_the_switches_that_were_asked_for(quick, capsys):
    mnist_gpu.run([*quick, "epochs=1", "engine.switches.fused_adam=true"])
    said = capsys.readouterr().out
    assert "engine.switches.fused_adam=True\n" in said
    assert "the division follows from what is switched on" in said
    mnist_gpu.run([*quick, "epochs=1"])
    assert "division follows" not in capsys.readouterr().out
