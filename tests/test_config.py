"""What a user may write on the command line, and what they are told when it is wrong."""

from pathlib import Path

import pytest

from mnist_gpu.config import deviations, reference
from mnist_gpu.config.compose import (
    arguments,
    check,
    compose_config,
    read_settings,
)
from mnist_gpu.config.settings import Settings
from mnist_gpu.errors import UserError
from mnist_gpu.paths import choices
from mnist_gpu.protocol import standard
from mnist_gpu.runs.building import make
from tests.refusals import refusal, settings

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_defaults_are_the_standard_protocol():
    usual = settings()
    assert (usual.epochs, usual.batch_size, usual.learning_rate) == (50, 64, 0.001)
    assert (usual.seed, usual.devices, usual.precision) == (0, 1, "float32")
    assert (usual.model.name, usual.engine.name) == ("cnn", "lightning")
    assert usual.division.name == "stock"
    assert set(usual.engine.switches.values()) == {None}
    assert deviations.deviations(usual, "mnist") == []


def test_the_quickstart_is_one_stock_epoch_on_whatever_data_there_is():
    quick = settings("experiment=quickstart")
    assert (quick.epochs, quick.data.source, quick.division.name) == (1, "auto", "stock")


@pytest.mark.parametrize(
    "group",
    [
        *("platform", "engine", "division", "model", "data", "logger", "trainer", "callbacks"),
        *("launcher", "experiment"),
    ],
)
def test_an_unknown_choice_is_answered_with_the_choices(group):
    line = refusal(f"{group}=nonsense")
    assert line.startswith(f"{group}=nonsense: choose from ")
    assert all(choice in line for choice in choices(group))


@pytest.mark.parametrize(
    ("override", "allowed"),
    [
        ("epochs=0", "a whole number from 1 to 100000"),
        ("epochs=1.5", "whole number"),
        ("epochs=true", "whole number"),
        ("batch_size=-1", "from 1"),
        ("seed=abc", "whole number"),
        ("seed=null", "a whole number from 0 to 4294967295"),
        ("seed=4294967296", "4294967295"),
        ("learning_rate=nan", "a number above 0, at most 10"),
        ("learning_rate=0", "above 0"),
        ("learning_rate=fast", "a number"),
        ("devices=3", "1, 2, 4, 8, 16, 32"),
        ("devices=0", "from 1"),
        ("scaling=linear", "strong, weak"),
        ("precision=int8", "bf16-mixed"),
        ("checkpoint_every=-1", "from 0"),
        ("resume=3", "text or null"),
        ("rerun=1", "true or false"),
        ("model.dropout=3", "true or false"),
        ("model.layers=3", "a list"),
        ("data.source=web", "synthetic"),
        ("data.dir=3", "text or null"),
        ("platform.accelerator=tpu", "cuda"),
        ("+platform.detect={host: jetstrem}", "jetstream"),
        ("engine.switches.compile=[1]", "true or false"),
        ("+callbacks.mine=3", "a mapping"),
        ("logger=null", "choose from"),
        ("logger=", "choose from"),
        ("model=[cnn,mlp]", "one at a time"),
    ],
)
def test_a_bad_value_is_answered_with_key_value_and_what_is_allowed(override, allowed):
    line = refusal(override)
    key, _, value = override.lstrip("+").partition("=")
    assert line.startswith(key)
    assert value in line or "{" in value
    assert allowed in line


@pytest.mark.parametrize("sign", ["", "+", "++"])
@pytest.mark.parametrize(
    ("override", "key", "meant"),
    [
        ("sed=1", "sed", "seed"),
        ("epoch=3", "epoch", "epochs"),
        ("model.droput=false", "model.droput", "dropout"),
        ("platform.price.amount=3", "platform.price.amount", "amount_per_hour"),
        ("engine.switches.fused_adm=true", "engine.switches.fused_adm", "fused_adam"),
        ("engine.swiches=1", "engine.swiches", "switches"),
        ("data.dirs=x", "data.dirs", "dir"),
    ],
)
def test_an_unknown_key_is_refused_by_every_way_in_with_what_was_meant(sign, override, key, meant):
    line = refusal(f"{sign}{override}")
    assert line.startswith(f"{key}: ")
    assert f"(did you mean {meant}?)" in line


def test_a_misspelt_experiment_is_no_silent_standard_run():
    assert "did you mean quickstart?" in refusal("experiment=quikstart")


@pytest.mark.parametrize(("engine", "has"), [("keras", "jit_compile"), ("mlx", "allowed are none")])
@pytest.mark.parametrize("sign", ["", "+"])
def test_a_switch_of_another_engine_is_answered_with_those_of_this_one(engine, has, sign):
    line = refusal(f"engine={engine}", f"{sign}engine.switches.channels_last=true")
    assert line.startswith("engine.switches.channels_last: no such key")
    assert has in line


@pytest.mark.parametrize(
    ("override", "right"),
    [
        ("data.dir=/data/a=b", "'data.dir=\"/data/a=b\"'"),
        ("data.dir=~/x", "'data.dir=\"~/x\"'"),
        ("data.dir=/data/ü", "'data.dir=\"/data/ü\"'"),
        ("seed=0,1", "add -m"),
        ("seed", "seed=VALUE"),
    ],
)
def test_what_hydras_grammar_cannot_read_is_answered_with_how_to_write_it(override, right):
    assert right in refusal(override)
    if right.startswith("'"):
        assert settings(right.strip("'")).data.dir == override.partition("=")[2]


def test_flags_may_stand_anywhere():
    given = ["platform=cpu", "-m", "checkpoint=0,1", "--config-dir", "mine", "seed=1"]
    assert arguments(given) == [
        *("-m", "--config-dir", "mine"),
        *("platform=cpu", "checkpoint_every=0,1", "seed=1"),
    ]


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
        ("[{kind: flatten},{kind: linear,name: '<b>',units: 10}]", "letters"),
        ("[{kind: flatten},{kind: linear,name: a,units: 1000000}]", "100000"),
        ("[{_target_: os.system}]", "_target_"),
    ],
)
def test_an_impossible_network_is_refused_by_layer(layers, reason):
    assert reason in refusal(f"model.layers={layers}")


def test_lightnings_own_classes_go_in_by_target_and_are_deviations():
    found = settings(
        "callbacks=[early_stopping,device_stats]", "+trainer.gradient_clip_val=0.5", "logger=wandb"
    )
    assert list(found.callbacks) == ["early_stopping", "device_stats"]
    assert found.trainer["gradient_clip_val"] == 0.5
    assert found.logger.name == "WandbLogger"
    assert found.logger.node["project"] == "mnist-gpu"
    assert deviations.deviations(found, "mnist") == [
        "trainer.gradient_clip_val 0.5 (standard: null)",
        "callbacks early_stopping, device_stats (standard: none)",
        "logger WandbLogger (standard: tensorboard, csv or none)",
    ]


def test_a_path_in_an_argument_comes_into_no_record():
    found = settings("+trainer.default_root_dir=/scratch/ada/runs")
    said = ["trainer.default_root_dir ... (standard: null)"]
    assert deviations.deviations(found, "mnist") == said


def test_a_node_without_its_class_is_refused():
    assert "needs _target_" in refusal("+callbacks.mine={monitor: loss}")
    assert "needs _target_" in refusal("~trainer._target_")
    assert "+trainer.fast_dev_run=" in refusal("trainer.fast_dev_run=true")


@pytest.mark.parametrize(
    "override", ["callbacks=early_stopping", "logger=wandb", "+trainer.gradient_clip_val=0.5"]
)
def test_what_only_lightning_can_use_is_refused_for_other_engines(override):
    assert "choose engine=lightning" in refusal("engine=torch", override)


@pytest.mark.parametrize("logger", ["none", "csv", "tensorboard"])
def test_three_loggers_are_for_every_engine(logger):
    assert settings("engine=mlx", f"logger={logger}").logger.name == logger


def test_settings_survive_the_way_to_another_process(tmp_path):
    before = settings("logger=wandb", "callbacks=early_stopping", "engine.switches.compile=true")
    assert Settings.model_validate(before.model_dump(mode="json")) == before
    from omegaconf import OmegaConf

    config = compose_config(["logger=wandb", "callbacks=early_stopping"])
    own = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    OmegaConf.save(own, tmp_path / "config.yaml")
    assert read_settings(tmp_path / "config.yaml") == check(config)


def test_what_changes_the_training_changes_the_fingerprint_and_nothing_else_does():
    before = deviations.fingerprint(settings(), "a")
    for same in ("resume=auto", "rerun=true", "logger=none", "data.dir=x", "checkpoint_every=5"):
        assert deviations.fingerprint(settings(same), "a") == before
    for other in ("seed=1", "division=tuned", "engine.switches.compile=true", "epochs=3"):
        assert deviations.fingerprint(settings(other), "a") != before


def test_a_run_and_its_record_deviate_by_the_same_table():
    words = {"epochs": 3, "model": "mlp", "dataset": "synthetic", "precision": "float64"}
    found = settings("epochs=3", "model=mlp", "precision=float64")
    from_settings = deviations.deviations(found, "synthetic")
    assert [line.partition(" ")[0] for line in from_settings] == list(words)
    assert list(standard.deviating(words)) == list(words)
    assert standard.deviating({"n_parameters": 5, "model": "cnn"}).keys() == {"model"}


def test_every_value_has_its_line_in_the_help_and_the_docs():
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    values = list(reference.lines(Settings))
    rows = [f"| `{key}` | {may_be} | {meaning} |" for key, may_be, meaning in values]
    assert "\n".join(rows) in page
    for key, may_be, meaning in values:
        assert may_be, key
        assert meaning, key


def test_an_object_is_made_of_the_class_that_a_node_names():
    node = {"_target_": "datetime.timezone", "offset": {"_target_": "datetime.timedelta"}}
    assert str(make({**node}, "callbacks.zone")) == "UTC"
    assert make({"_target_": "fractions.Fraction", "numerator": 1}, "x", denominator=2) == 0.5


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"_target_": "fractions.Fractoin"}, "logger._target_=fractions.Fractoin: "),
        ({"_target_": "no.such.module"}, "logger._target_=no.such.module: "),
        (
            {"_target_": "fractions.Fraction", "numerater": 1},
            "logger.numerater: Fraction has no such argument (did you mean numerator?)",
        ),
        (
            {"_target_": "fractions.Fraction", "numerator": 1, "denominator": 0},
            "logger: fractions.Fraction refused: ZeroDivisionError",
        ),
    ],
)
def test_a_class_that_cannot_be_made_is_said_in_one_line(node, said):
    with pytest.raises(UserError) as refused:
        make(node, "logger")
    assert str(refused.value).startswith(said)
