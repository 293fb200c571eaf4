"""The configuration from the command line, in a process of its own."""

import os
import subprocess
import sys


def test_a_bad_override_is_refused_without_importing_a_framework():
    script = (
        "import sys\n"
        "sys.argv = ['train', 'epochs=0']\n"
        "from mnist_gpu.train import main\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert ended.code == 1\n"
        "heavy = {'torch', 'tensorflow', 'keras', 'lightning', 'mlx', 'jax', 'pandas'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "mnist-gpu: epochs=0: a whole number from 1 to 100000"


def command(*arguments: str, folder, **variables: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "HYDRA_FULL_ERROR"}
    return subprocess.run(
        [sys.executable, "-m", "mnist_gpu.train", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment | variables,
    )


def test_a_refused_run_leaves_no_folder_behind(tmp_path):
    assert command("epochs=0", folder=tmp_path).returncode == 1
    assert not list(tmp_path.rglob("*"))


def test_the_configuration_can_be_printed_and_the_help_lists_choices_and_values(tmp_path):
    printed = command("--cfg", "job", "platform=cpu", folder=tmp_path)
    assert printed.returncode == 0
    assert "name: cpu" in printed.stdout
    shown = command("--help", folder=tmp_path)
    assert "platform: auto" in shown.stdout
    assert "experiment=quickstart" in shown.stdout
    assert "epochs=50" in shown.stdout
    assert "a whole number from 1 to 100000" in shown.stdout
    assert command("--hydra-help", folder=tmp_path).returncode == 0


def test_what_changes_the_steps_from_outside_is_refused_in_one_line(tmp_path):
    done = command("platform=cpu", folder=tmp_path, PL_TRAINER_LIMIT_TRAIN_BATCHES="7")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "PL_TRAINER_LIMIT_TRAIN_BATCHES=7" in line
    assert "unset it" in line


def test_relative_folders_mean_the_same_where_hydra_changes_the_folder(tmp_path):
    done = command("hydra.job.chdir=true", "data.dir=nowhere", "logger=none", folder=tmp_path)
    assert done.returncode == 1
    assert str(tmp_path / "nowhere") in done.stderr
