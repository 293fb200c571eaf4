"""What a user may write on the command line, and what they are told when it is wrong."""

import os
import subprocess
import sys

import pytest

from mnist_gpu.config.checks import check
from mnist_gpu.config.complaints import COMPLAINTS, one_line
from mnist_gpu.config.compose import choices, compose_config
from mnist_gpu.errors import UserError


def complaint(*overrides: str) -> str:
    with pytest.raises((UserError, *COMPLAINTS)) as fault:
        check(compose_config(overrides))
    line = str(fault.value) if isinstance(fault.value, UserError) else one_line(fault.value)
    assert "\n" not in line
    return line


def settings(*overrides: str):
    return check(compose_config(overrides))


def test_the_defaults_are_the_standard_protocol():
    standard = settings()
    assert (standard.epochs, standard.batch_size, standard.learning_rate) == (50, 64, 0.001)
    assert (standard.seed, standard.devices, standard.precision) == (0, 1, "float32")
    assert standard.model["name"] == "cnn"
    assert standard.engine["name"] == "lightning"


def test_the_quickstart_is_three_epochs_on_whatever_data_there_is():
    quick = settings("experiment=quickstart")
    assert (quick.epochs, quick.data["source"]) == (3, "auto")


@pytest.mark.parametrize("group", ["platform", "engine", "model", "data", "logger"])
def test_an_unknown_choice_is_answered_with_the_choices(group):
    line = complaint(f"{group}=nonsense")
    assert f"{group}=nonsense" in line
    assert all(choice in line for choice in choices(group))


@pytest.mark.parametrize(
    ("override", "allowed"),
    [
        ("epochs=0", "from 1"),
        ("epochs=1e3", "whole number"),
        ("batch_size=-1", "from 1"),
        ("seed=abc", "whole number"),
        ("seed=1.5", "whole number"),
        ("seed=-1", "from 0"),
        ("seed=4294967296", "4294967295"),
        ("learning_rate=nan", "above 0"),
        ("learning_rate=0", "above 0"),
        ("learning_rate=fast", "a number"),
        ("devices=3", "1, 2, 4, 8, 16, 32"),
        ("ensemble=513", "from 1 to 512"),
        ("scaling=linear", "strong, weak"),
        ("precision=int8", "bf16-mixed"),
        ("devices=0", "from 1"),
        ("steps_per_execution=0", "auto"),
        ("steps_per_execution=many", "epoch"),
        ("checkpoint=-1", "from 0"),
        ("model.dropout=3", "true or false"),
        ("data.source=web", "synthetic"),
        ("platform.accelerator=tpu", "cuda"),
    ],
)
def test_a_bad_value_is_answered_with_key_value_and_what_is_allowed(override, allowed):
    line = complaint(override)
    key, _, value = override.partition("=")
    assert key in line
    assert value in line or value == "1e3"
    assert allowed in line


def test_an_unknown_key_is_answered_with_the_nearest_one():
    line = complaint("epoch=3")
    assert "epoch: no such key" in line
    assert "did you mean epochs?" in line
    assert "no such key" in complaint("platform.color=red")


def test_a_configuration_cannot_name_code_to_run():
    assert "may not name code" in complaint("+engine._target_=os.system")
    assert "may not name code" in complaint("+model.layers=[{_target_: os.system}]")


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ("[]", "10 logits"),
        ("[{kind: flatten},{kind: linear,name: a,units: 9}]", "10 logits"),
        ("[{kind: linear,name: a,units: 10}]", "flatten"),
        ("[{kind: attention}]", "choose from"),
        ("[{kind: conv,name: a,filters: 0,kernel: 3}]", "filters"),
        ("[{kind: dropout,rate: 1.0}]", "rate"),
        ("[{kind: conv,name: a,filters: 3,kernel: 30}]", "nothing is left"),
    ],
)
def test_an_impossible_network_is_refused_by_layer(layers, reason):
    assert reason in complaint(f"model.layers={layers}")


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


def command(*arguments: str, folder) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "HYDRA_FULL_ERROR"}
    return subprocess.run(
        [sys.executable, "-m", "mnist_gpu.train", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
    )


def test_a_refused_run_leaves_no_folder_behind(tmp_path):
    assert command("epochs=0", folder=tmp_path).returncode == 1
    assert not list(tmp_path.rglob("*"))


def test_the_configuration_can_be_printed_and_the_help_lists_the_choices(tmp_path):
    printed = command("--cfg", "job", "platform=cpu", folder=tmp_path)
    assert printed.returncode == 0
    assert "name: cpu" in printed.stdout
    shown = command("--help", folder=tmp_path)
    assert "platform: auto" in shown.stdout
    assert "experiment=quickstart" in shown.stdout


STRANGERS = {
    "a callback": "hydra:\n  callbacks:\n    evil:\n      _target_: {code}\n",
    "ours replaced": "hydra:\n  callbacks:\n    sweep:\n      _target_: {code}\n",
    "a launcher": "hydra:\n  launcher:\n    _target_: {code}\n",
    "inside the launcher": "hydra:\n  launcher:\n    inner:\n      _target_: {code}\n",
    "a sweeper": "hydra:\n  sweeper:\n    _target_: {code}\n",
    "a reference": "hydra:\n  callbacks: ${{oc.decode:'{{a: {{_target_: {code}}}}}'}}\n",
    "a log handler": (
        "hydra:\n  job_logging:\n    handlers:\n      evil:\n        (): {code}\n"
        "    root:\n      handlers: [evil]\n"
    ),
    "a log class": (
        "hydra:\n  hydra_logging:\n    handlers:\n      console:\n        class: {code}\n"
    ),
    "a log file": "hydra:\n  job_logging:\n    handlers:\n      file:\n        filename: witness\n",
    "the environment": "hydra:\n  job:\n    env_set:\n      LD_PRELOAD: {code}\n",
    "an engine": "engine:\n  tuning:\n    _target_: {code}\n",
    "a secret": "platform:\n  label: ${{oc.env:A_SECRET}}\n",
    "python in yaml": "seed: !!python/object/apply:{code} []\n",
}


@pytest.mark.parametrize("how", STRANGERS)
@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_a_strangers_configuration_runs_no_code(tmp_path, how, flags):
    """The code writes a file called witness when it is imported, let alone called."""
    (tmp_path / "stranger.py").write_text(
        "open('witness', 'w').write('x')\nclass Run:\n    def __init__(self, *a, **k): pass\n"
    )
    (tmp_path / "given" / "experiment").mkdir(parents=True)
    text = "# @package _global_\n" + STRANGERS[how].format(code="stranger.Run")
    (tmp_path / "given" / "experiment" / "gift.yaml").write_text(text)
    done = command(*flags, "--config-dir", "given", "experiment=gift", "epochs=0", folder=tmp_path)
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("mnist-gpu: ")
    assert "Traceback" not in done.stderr
    assert "epochs=0" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given", "stranger.py"]


@pytest.mark.parametrize(
    "option",
    [
        ["--experimental-rerun", "gift.pickle"],
        ["--config-path", "/given"],
        ["-cn", "gift"],
        ["hydra.searchpath=[pkg://stranger]"],
    ],
)
def test_options_that_go_around_the_projects_configuration_are_refused(monkeypatch, capsys, option):
    from mnist_gpu import train

    monkeypatch.setattr(sys, "argv", ["train", *option])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")
    with pytest.raises(SystemExit) as ended:
        train.main()
    assert ended.value.code == 1
    line = capsys.readouterr().err
    assert line.startswith("mnist-gpu: ")
    assert line.count("\n") == 1


def test_hydras_own_log_presets_stay_allowed():
    for preset in ("default", "disabled", "none", "stdout"):
        settings(f"hydra/job_logging={preset}")
