"""Every command that the documents show is tried here, shown by another test, or named with the
reason why it cannot be tried. None trains cnn."""

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mnist_gpu import doctor, estimate, validate
from mnist_gpu.bench import __main__ as bench
from mnist_gpu.bench import costs, foreign, hooks, tables, variants
from mnist_gpu.config.compose import check, compose_config
from mnist_gpu.data import synthetic
from mnist_gpu.faults import small
from mnist_gpu.parity import __main__ as parity
from mnist_gpu.report.__main__ import main as report
from mnist_gpu.train import run_app
from tests.documents import CHECKOUT, commands

# what begins like this is shown by that test
SHOWN = {
    r"scripts/(\w+/launch|make_bundle)\.py": "platforms/test_documented.py:"
    "test_a_documented_command_shows_its_steps",
    r"scripts/bootstrap\.py": "platforms/test_bootstrap.py:"
    "test_what_a_platform_lacks_comes_from_the_lock_and_the_rest_stays",
    r"scripts/train .*platform=(lab|<name>)": "platforms/test_adding.py:"
    "test_a_platform_added_by_the_guides_one_file_runs_and_gets_its_row",
    r"scripts/slurm/sweep|.*launcher=slurm": "scale/test_slurm.py:"
    "test_a_sweep_over_three_seeds_ends_in_three_valid_records_and_one_table",
    r"torchrun": "scale/test_devices.py:test_torchrun_starts_the_same_run",
    r"sbatch": "scale/test_slurm.py:test_srun_starts_the_processes_of_a_run_as_well",
    r"mnist-gpu train": "test_command.py:test_a_wheel_trains_validates_and_reports_in_any_folder",
    r"pip install https://": "test_command.py:"
    "test_a_wheel_trains_validates_and_reports_in_any_folder",
    r"scripts/faults": "faults/test_resumed.py:test_a_short_campaign_of_kills_finds_nothing_wrong",
    r"python -m mnist_gpu.parity --faults": "test_engines.py:"
    "test_one_default_put_back_is_seen_within_ten_steps",
    r"python -m mnist_gpu.report .*--compare": "test_report_compare.py:"
    "test_rows_are_compared_by_their_names",
    r"python -m mnist_gpu.bench.truth": "test_estimate_lines.py:"
    "test_estimates_are_laid_beside_the_run_that_came_of_them",
    r"python -m mnist_gpu.report .*--estimates": "test_estimate_lines.py:"
    "test_estimates_are_ranked_by_time_and_marked",
}
CANNOT = {
    "python -m mnist_gpu.train GROUP=CHOICE VALUE=...": "a pattern, not a command",
    "scripts/test": "it runs this test",
    "MNIST_GPU_EXTRAS=report scripts/test --version": "it installs packages",
    "pip install 'keras>=3.10' tensorflow torch torchvision lightning": "it installs packages",
    "less multirun/*/*/record.json": "a program of the system, for a person at a terminal",
    "git add results README.md": "it changes this checkout",
    "git commit": "it changes this checkout",
    "source app-cred-openrc.sh": "a person's credentials",
    "export JUPYTERHUB_API_TOKEN=...": "a person's credentials",
    ".venv-launch/kaggle/bin/kaggle auth login": "a person's credentials",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands in for a checkout in which somebody has trained."""
    path = tmp_path_factory.mktemp("checkout")
    (path / "README.md").write_bytes((CHECKOUT / "README.md").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        assert run_app([*cheap(path), "platform=cpu", "engine=torch"]) == 0
        assert run_app([*cheap(path), "platform=cpu", "engine=torch", "-m", "seed=1,2"]) == 0
    [record] = path.glob("outputs/cpu/*/record.json")
    shutil.copytree(record.parent, path / "results" / "mine")
    return path


def cheap(path: Path) -> list[str]:
    """What makes a run take a second."""
    return ["model=mlp", "epochs=1", "logger=none", *small.write(path / "digits", 640, 128)]


def with_cheap(given: list[str], path: Path) -> list[str]:
    """What was given, but for what would make it long."""
    quick = cheap(path)
    keys = {argument.partition("=")[0] for argument in quick}
    return [*(argument for argument in given if argument.partition("=")[0] not in keys), *quick]


def train(given: list[str], path: Path, patch: pytest.MonkeyPatch) -> None:
    """Train where this machine can, on few digits; else compose and check what was asked for."""
    if {"platform=m1", "platform=cuda", "division=open"} & set(given):
        assert check(compose_config(given))
    else:
        assert run_app(with_cheap(given, path)) == 0


def estimated(given: list[str], path: Path, patch: pytest.MonkeyPatch) -> None:
    assert estimate.main([*with_cheap(given, path), "engine=torch", "budget_s=1"]) == 0


def doctored(given: list[str], path: Path, patch: pytest.MonkeyPatch) -> None:
    assert doctor.main(given) in (0, 1)


def validated(given: list[str], path: Path, patch: pytest.MonkeyPatch) -> None:
    assert validate.main(given) == 0


def reported(given: list[str], path: Path, patch: pytest.MonkeyPatch) -> None:
    if "--check" in given:
        assert report([name for name in given if name != "--check"]) == 0
    assert report(given or ["outputs"]) == 0


def in_parity(given: list[str], path: Path, patch: pytest.MonkeyPatch) -> None:
    assert parity.main([*given, "torch", "--models", "mlp", "--steps", "10"]) == 0


def benched(given: list[str], path: Path, patch: pytest.MonkeyPatch) -> None:
    """One variant of mlp, a repeat or two."""
    if "--help" in given:
        with pytest.raises(SystemExit, match="0"):
            bench._parser().parse_args(given)
        return
    (path / "path.py").write_text(OWN_MODULE)
    drawn = synthetic.draw(0, 6400, 640)
    patch.setattr(variants.data, "load", lambda *_, **__: drawn)
    patch.setattr(costs, "STARTUP_RUN", cheap(path))
    patch.setattr(foreign, "SWITCHES", ("keep_memory",))
    patch.setattr(tables, "switches_on", lambda *_: ("fused_adam",))
    quick = ["--models", "mlp", "--variants", "torch", "--repeats", "1", "--pairs", "1"]
    values = {"EPOCHS": "1", "N": "2", "lightning": "torch"}
    patch.setattr(sys, "argv", ["bench", *(values.get(word, word) for word in given), *quick])
    bench.main()


def benched_hooks(given: list[str], path: Path, patch: pytest.MonkeyPatch) -> None:
    """A pair of blocks of mlp."""
    patch.setattr(hooks, "BLOCK_STEPS", {"mlp": 2})
    patch.setattr(sys, "argv", ["hooks", *given, "--pairs", "1"])
    hooks.main()


def on_a_mac(given: list[str], path: Path, patch: pytest.MonkeyPatch) -> None:
    subprocess.run([CHECKOUT / "scripts" / "m1" / "run", *given, "--dry-run"], check=True)


def in_a_shell(command: str, path: Path, patch: pytest.MonkeyPatch) -> None:
    subprocess.run(["bash", "-euc", command], cwd=path, check=True)


def tensorboard(given: list[str], path: Path, patch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "tensorboard.main", *given, "--version_tb"]
    subprocess.run(command, check=True, capture_output=True)


OWN_MODULE = """
import torch
from torch.utils.data import DataLoader, TensorDataset
from lightning.pytorch import LightningModule

class MyModule(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)

    def training_step(self, batch, batch_idx):
        return self.layer(batch[0]).square().mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.rand(64, 4)), batch_size=1)
"""
TRIED = {
    r"scripts/train\b": train,
    r"python -m mnist_gpu\.estimate\b": estimated,
    r"python -m mnist_gpu\.doctor\b": doctored,
    r"python -m mnist_gpu\.validate\b": validated,
    r"python -m mnist_gpu\.report\b": reported,
    r"python -m mnist_gpu\.parity\b": in_parity,
    r"scripts/bench\b": benched,
    r"python -m mnist_gpu\.bench\.hooks\b": benched_hooks,
    r"scripts/m1/run\b": on_a_mac,
    r".venv/bin/tensorboard": tensorboard,
}


def plain(command: str) -> str:
    return command.removeprefix(".venv/bin/") if ".venv/bin/python" in command else command


def way(command: str) -> Callable[[Path, pytest.MonkeyPatch], None] | str | None:
    """What tries a command; or the test that shows it, or the reason why nothing does."""
    if command in CANNOT:
        return CANNOT[command]
    if command.startswith("for "):
        return partial(in_a_shell, command)
    for pattern, test in SHOWN.items():
        if re.match(pattern, command):
            return test
    for pattern, attempt in TRIED.items():
        if match := re.match(pattern, command):
            return partial(attempt, shlex.split(command[match.end() :]))
    return None


DOCUMENTED = list(dict.fromkeys(plain(command) for command in commands()))
TO_TRY = [command for command in DOCUMENTED if callable(way(command))]


def test_no_command_is_forgotten() -> None:
    assert [command for command in DOCUMENTED if way(command) is None] == []
    assert len(TO_TRY) > len(CANNOT)


@pytest.mark.parametrize("planted", ["scripts/paint", "python -m mnist_gpu.paint", "make all"])
def test_a_command_that_nobody_tries_is_seen(planted: str) -> None:
    assert way(planted) is None


def test_what_is_listed_is_still_documented() -> None:
    assert set(CANNOT) <= set(DOCUMENTED)
    for pattern in (*SHOWN, *TRIED):
        assert any(re.match(pattern, command) for command in DOCUMENTED), pattern


@pytest.mark.parametrize("shown", sorted(set(SHOWN.values())))
def test_the_test_that_shows_a_command_is_there(shown: str) -> None:
    path, name = shown.split(":")
    tree = ast.parse((CHECKOUT / "tests" / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.slow
@pytest.mark.parametrize("command", TO_TRY)
def test_a_documented_command_does_its_work(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, mnist_dir: Path
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MNIST_GPU_DATA", str(mnist_dir))
    attempt = way(command)
    assert callable(attempt)
    attempt(folder, monkeypatch)
    records = [json.loads(path.read_text()) for path in folder.rglob("record.json")]
    assert {record["workload"]["model"] for record in records} == {"mlp"}
