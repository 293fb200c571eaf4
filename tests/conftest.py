"""What every test may ask for."""

import gc
import gzip
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from mnist_gpu import data
from mnist_gpu.data import idx, mnist
from mnist_gpu.errors import UserError
from mnist_gpu.faults import small
from mnist_gpu.protocol.dataset import Dataset
from mnist_gpu.records.facts import facts
from mnist_gpu.records.schema import Record
from tests.summaries import small_field

# what is sent to the background, or started by nohup, ignores these, and so do its children
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# a package brings node and npm beside this Python; what the machine has of its own comes first
os.environ["PATH"] += os.pathsep + str(Path(sys.executable).parent)
NO_MNIST = "no MNIST: "
PROCESS, GROWN_BYTES = psutil.Process(), 64 << 20
# what starts servers, browsers, compilers or long trainings: left out with --quick
LONG = {
    *("any_trainer", "faults", "kernels", "page", "platforms", "scale"),
    *("test_curves.py", "test_engines.py", "test_estimate.py", "test_faults_mutations.py"),
    *("test_files.py", "test_files_others.py", "test_keras_engine.py"),
    *("test_mlx_engine.py", "test_output.py", "test_readme.py", "test_run.py"),
    *("test_tensorflow_engine.py", "test_torch_devices.py", "test_torch_engine.py"),
    "test_validate_mutations.py",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`scripts/test --quick`."""
    parser.addoption("--quick", action="store_true", help="leave long tests out, for daily work")


def pytest_collection_finish() -> None:
    """What is imported by now stays: a run, which looks for garbage before it begins, need not look
    there."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--quick`, keep what ends within seconds."""
    if not config.getoption("--quick"):
        return
    here = Path(__file__).parent
    long = [
        item
        for item in items
        if item.path.relative_to(here).parts[0] in LONG or item.get_closest_marker("slow")
    ]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in set(long)]


@pytest.fixture(scope="session")
def mnist_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the four gzipped MNIST files: that of `MNIST_GPU_DATA`, or else one that is
    filled by the program's own ways and named there for the rest of the session."""
    named = os.environ.get("MNIST_GPU_DATA")
    if named:
        yield Path(named)
        return
    try:
        dataset = data.load({"source": "mnist"})
    except UserError as exc:
        pytest.skip(f"{NO_MNIST}{exc}")
    folder = tmp_path_factory.mktemp("mnist")
    for name, content in idx_files(dataset).items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, compresslevel=1))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MNIST_GPU_DATA", str(folder))
        yield folder


@pytest.fixture(scope="session")
def published(mnist_dir: Path) -> dict[str, bytes]:
    """The contents of the four published files, unpacked, by name."""
    return idx_files(data.load({"source": "mnist", "dir": str(mnist_dir)}))


@pytest.fixture(scope="session")
def zipped(published: dict[str, bytes]) -> dict[str, bytes]:
    """The contents of the four gzipped files, by name."""
    return {f"{name}.gz": gzip.compress(content, 1) for name, content in published.items()}


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that train on 640 drawn digits."""
    return small.write(tmp_path_factory.mktemp("digits"), 640, 128)


@pytest.fixture
def field() -> list[Record]:
    """Records of a small field of platforms and engines."""
    return small_field()


@pytest.fixture(scope="session", autouse=True)
def triton_before_tensorflow() -> None:
    """In one process, the LLVM that Triton brings has to be loaded before TensorFlow's."""
    importlib.import_module("torch._dynamo")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Engines and Trainers refer to each other, with a data set each: Python seldom looks for such
    circles in a process that holds so much, and would let gigabytes lie until then."""
    before = PROCESS.memory_info().rss
    found = yield
    if PROCESS.memory_info().rss - before > GROWN_BYTES:
        gc.collect()
    return found


@pytest.fixture(autouse=True)
def absl_without_a_stream_of_pytest() -> Iterator[None]:
    """TensorFlow's logging handler keeps the stderr it met first, which may be pytest's own, and
    closes it when logging is configured anew."""
    yield
    if absl := sys.modules.get("absl.logging"):
        absl.get_absl_handler().python_handler.stream = sys.__stderr__


@pytest.fixture(autouse=True)
def made_up_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit that made-up records name counts as one of this project's."""
    known = {"0" * 40: datetime(2026, 1, 1, tzinfo=UTC)}
    monkeypatch.setattr("mnist_gpu.records.rules.doubtful.history", lambda: known)
    monkeypatch.setitem(facts("releases"), "schema_since", "2026-01-01T00:00:00Z")


def idx_files(dataset: Dataset) -> dict[str, bytes]:
    """The four IDX files of a data set, by name."""
    parts = (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels)
    named = zip(mnist.PUBLISHED_SHA256, parts, strict=True)
    return {name: idx.header(array) + array.tobytes() for name, array in named}


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were left out for want of data."""
    skipped = terminalreporter.stats.get("skipped", [])
    left_out = sum(NO_MNIST in str(report.longrepr) for report in skipped)
    terminalreporter.write_line(f"tests left out for want of MNIST: {left_out}")
