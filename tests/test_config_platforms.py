"""What a user's own files may say, and what a platform must say to stand in a record."""

import pytest

from mnist_gpu.config.compose import (
    platforms,
)
from tests.refusals import refusal, settings


@pytest.fixture
def mine(tmp_path):
    """A user's own folder of choices, with a platform `lab` and an experiment `old`."""
    (tmp_path / "platform").mkdir()
    (tmp_path / "experiment").mkdir()
    (tmp_path / "platform" / "lab.yaml").write_text(
        "name: lab\nlabel: Our lab (RTX 4090)\nkind: local\naccelerator: cpu\n"
        "detect: {front: slurm}\n"
    )
    (tmp_path / "experiment" / "old.yaml").write_text("# @package _global_\nepochs: 3\n")
    return tmp_path


def test_a_users_own_platform_is_among_the_choices(mine):
    assert "lab" in refusal("platform=lap", "--config-dir", str(mine))
    found = settings("--config-dir", str(mine), "platform=lab").platform
    assert (found.name, found.rule) == ("lab", {"frontend": "slurm"})
    assert found.price.reason
    assert found.limits.reason


def test_a_misspelt_key_of_a_users_own_platform_is_refused(mine):
    path = mine / "platform" / "lab.yaml"
    path.write_text(path.read_text().replace("accelerator", "acelerator"))
    line = refusal("--config-dir", str(mine), "platform=lab")
    assert line.startswith("platform.acelerator: no such key (did you mean accelerator?)")
    path.write_text(path.read_text().replace("acelerator", "accelerator").replace("front", "frnt"))
    assert "did you mean frontend?" in refusal("--config-dir", str(mine), "platform=lab")


@pytest.mark.parametrize(
    ("old", "field", "value"),
    [
        ("checkpoint=5", "checkpoint_every", 5),
        ("++checkpoint=5", "checkpoint_every", 5),
        ("profiler=7", "profile_steps", 7),
        ("force=true", "rerun", True),
    ],
)
def test_a_renamed_key_keeps_its_old_name(old, field, value, mine):
    assert getattr(settings(old), field) == value
    key, _, text = old.lstrip("+").partition("=")
    (mine / "experiment" / "old.yaml").write_text(f"# @package _global_\n{key}: {text}\n")
    assert getattr(settings("--config-dir", str(mine), "experiment=old"), field) == value


@pytest.mark.parametrize(
    ("gone", "instead"),
    [
        ("ensemble=4", "-m seed=0,1,2,3,4"),
        ("steps_per_execution=4", "engine.switches.steps_per_execution"),
        ("engine.steps_per_execution=4", "engine.switches.steps_per_execution"),
        ("engine.jit_compile=true", "engine.switches.jit_compile"),
        ("engine.tuning.fused_adam=true", "engine.switches.fused_adam"),
        ("engine.tuning.sparse_linear=false", "division=open"),
        ("trainer.precision=16", "precision="),
        ("trainer.devices=2", "devices="),
        ("trainer.max_epochs=2", "epochs="),
    ],
)
def test_a_deleted_key_ends_in_one_line_that_names_what_took_its_place(gone, instead, mine):
    for override in (gone, f"+{gone}"):
        assert instead in refusal(override)
    key, _, value = gone.partition("=")
    text = "# @package _global_\n"
    for depth, part in enumerate(key.split(".")):
        text += f"{'  ' * depth}{part}:{'' if part != key.split('.')[-1] else ' ' + value}\n"
    (mine / "experiment" / "old.yaml").write_text(text)
    line = refusal("--config-dir", str(mine), "experiment=old")
    assert instead in line or "division=" in line


@pytest.mark.parametrize(
    ("label", "why"),
    [
        ("4090", "text"),
        ("TBD", "names no platform"),
        ("'???'", "names no platform"),
        ("'" + "漢" * 300 + "'", "600 columns"),
        ("'" + "a machine " * 7 + "'", "70 columns"),
        ("ab", "2 columns"),
        ("'a\\u202eb'", "U+202E"),
        ("'a <b>'", "markup"),
        ("/home/me/gpu", "a path"),
    ],
)
def test_a_label_that_no_record_may_hold_is_refused_before_training(label, why):
    label = label.encode("ascii", "backslashreplace").decode("unicode_escape")
    line = refusal(f"platform.label={label}")
    assert line.startswith("platform.label=")
    assert why in line


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("platform.label='Our lab'", "platform.label: is Our lab, but conf/platform/cpu.yaml says"),
        ("platform.kind=cloud", "platform.kind: is cloud, but conf/platform/cpu.yaml says local"),
        ("platform.name=lab", "platform.label: 'CPU on bare metal"),
    ],
)
def test_a_known_platform_under_another_label_is_refused_before_training(change, says):
    line = refusal("platform=cpu", change)
    assert line.startswith(says)
    assert "docs/platforms/index.md" in line


@pytest.mark.parametrize(
    ("price", "why"),
    [
        ("{amount_per_hour: -1, unit: USD}", "from 0"),
        ("{amount_per_hour: 2, unit: USD}", "platform.price.source"),
        ("{amount_per_hour: 2, unit: USD, source: x, as_of: '2999-01-01'}", "future"),
        ("{amount_per_hour: 2, unit: USD, source: x, as_of: '2025-02-30'}", "calendar"),
        ("{amount_per_hour: 2, unit: '12', source: x, as_of: '2025-02-03'}", "no unit"),
        ("{amount_per_hour: 20000, unit: USD, source: x, as_of: '2025-02-03'}", "10000"),
        ("{amount_per_hour: null, reason: null}", "reason"),
        ("{free: true, amount_per_hour: 1, unit: USD, source: x, as_of: '2025-02-03'}", "free"),
        ("3", "mapping"),
    ],
)
def test_a_price_that_no_record_may_hold_is_refused_before_training(price, why):
    assert why in refusal("~platform.price", f"+platform.price={price}")


def test_every_platform_can_stand_in_a_record_and_says_what_limits_it():
    for name, platform in platforms().items():
        assert platform.name == name
        assert platform.limits.reason or platform.limits.quota_s_per_week
        assert platform.limits.session_s is None or platform.limits.source
    assert platforms()["kaggle_t4"].limits.quota_s_per_week == 30 * 3600


def test_a_secret_of_the_environment_cannot_come_into_a_record_through_a_resolver():
    assert "record" in refusal("platform.label='${oc.env:HOME}'")
    assert settings("data.dir='${oc.env:HOME}/x'").data.dir.endswith("/x")
