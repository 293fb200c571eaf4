"""What reaches a training past the configuration is refused, taken out or recorded."""

import json
import os
import subprocess
import sys

import pytest

from mnist_gpu.errors import UserError
from mnist_gpu.measure import cpus, influences
from mnist_gpu.measure.influences import (
    image_defaults,
    refuse_or_neutralise,
    speed_environment,
)
from mnist_gpu.records.acceptable import markup_in, private_part_of


@pytest.fixture(autouse=True)
def _no_settings_of_this_user(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "value", "uses"),
    [
        ("PL_TRAINER_LIMIT_TRAIN_BATCHES", "7", "lightning"),
        ("PL_TRAINER_ACCUMULATE_GRAD_BATCHES", "2", "lightning"),
        ("KERAS_MAX_STEPS_PER_EPOCH", "3", "keras"),
        ("KERAS_MAX_EPOCHS", "1", "keras"),
        ("NVIDIA_TF32_OVERRIDE", "1", "mlx"),
        ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1", "torch"),
        ("ONEDNN_DEFAULT_FPMATH_MODE", "BF16", "torch"),
        ("TF_SET_ONEDNN_FPMATH_MODE", "BF16", "tensorflow"),
        ("TF_USE_LEGACY_KERAS", "1", "tensorflow"),
        ("TF_ENABLE_AUTO_MIXED_PRECISION", "1", "tensorflow"),
        ("TF_ENABLE_AUTO_MIXED_PRECISION_GRAPH_REWRITE", "1", "tensorflow"),
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=true", "jax"),
        ("JAX_DEFAULT_DTYPE_BITS", "64", "jax"),
        ("PYTORCH_MPS_FAST_MATH", "1", "lightning"),
    ],
)
def test_what_changes_steps_precision_or_mathematics_is_refused_by_name(name, value, uses):
    with pytest.raises(UserError) as refused:
        refuse_or_neutralise({name: value}, {uses})
    assert str(refused.value).startswith(f"environment variable {name}={value}: ")
    assert "unset it" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ONEDNN_DEFAULT_FPMATH_MODE", "STRICT"),
        ("TF_USE_LEGACY_KERAS", "0"),
        ("PYTORCH_MPS_FAST_MATH", "0"),
        ("XLA_FLAGS", "--xla_force_host_platform_device_count=2"),
        ("TF2_BEHAVIOR", "1"),
        ("PL_GLOBAL_SEED", "3"),
    ],
)
def test_a_value_that_changes_nothing_is_let_through(name, value):
    environ = {name: value}
    refuse_or_neutralise(environ)
    assert environ[name] == value


def test_what_the_engine_does_not_read_does_not_matter_to_it():
    refuse_or_neutralise({"PL_TRAINER_MAX_STEPS": "3", "JAX_ENABLE_X64": "1"}, {"mlx"})
    assert speed_environment({"TF_GPU_THREAD_COUNT": "3"}, uses={"torch"}) == {}


def test_what_the_configuration_says_itself_is_taken_out_and_told():
    environ = {"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1", "PATH": "/bin"}
    lines = refuse_or_neutralise(environ, {"keras", "jax"})
    assert environ == {"PATH": "/bin"}
    assert len(lines) == 2
    assert "engine.backend says it" in lines[0]


def test_mlx_computes_in_float32_whatever_its_default_is():
    environ: dict[str, str] = {}
    assert refuse_or_neutralise(environ, {"mlx"}) == []
    assert environ == {"MLX_ENABLE_TF32": "0"}


@pytest.mark.parametrize("by_variable", [True, False])
def test_keras_settings_file_may_hold_nothing_but_defaults(tmp_path, by_variable):
    folder = tmp_path / ("elsewhere" if by_variable else ".keras")
    folder.mkdir()
    environ = {"KERAS_HOME": str(folder)} if by_variable else {}
    usual = {"floatx": "float32", "epsilon": 1e-07, "backend": "jax"}
    (folder / "keras.json").write_text(json.dumps(usual))
    refuse_or_neutralise(environ, {"keras"})
    (folder / "keras.json").write_text(json.dumps({**usual, "floatx": "float16"}))
    with pytest.raises(UserError) as refused:
        refuse_or_neutralise(environ, {"keras"})
    assert "keras.json: floatx is float16" in str(refused.value)
    refuse_or_neutralise(environ, {"lightning"})


def test_what_changes_speed_is_recorded_with_its_value(tmp_path):
    environ = {
        "LD_PRELOAD": "/usr/lib/libtcmalloc.so.4:/home/me/lib/libx.so",
        "MALLOC_ARENA_MAX": "1",
        "OMP_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_dump_to=/home/me/dump",
        "GLIBC_TUNABLES": "",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "0",
        "HOME": "/home/me",
    }
    found = speed_environment(environ, preloaded=tmp_path / "none")
    assert found == {
        "LD_PRELOAD": "libtcmalloc.so.4:libx.so",
        "MALLOC_ARENA_MAX": "1",
        "OMP_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_dump_to=dump",
    }
    for value in found.values():
        assert markup_in(value) is None
        assert private_part_of(value) is None


def test_terraforms_variables_are_not_taken_for_tensorflows(tmp_path):
    environ = {"TF_CLI_CONFIG_FILE": ".terraformrc", "TF_VAR_region": "x", "TF_LOG": "DEBUG"}
    assert speed_environment(environ | {"TF_XLA_FLAGS": "--y"}, preloaded=tmp_path / "none") == {
        "TF_XLA_FLAGS": "--y"
    }


@pytest.mark.parametrize("name", ["TF_VAR_password", "TF_TOKEN_app_terraform_io", "TF_CLI_ARGS"])
def test_terraforms_variables_are_not_tensorflows_and_come_into_no_record(name, tmp_path):
    environ = {name: "s3cret"}
    assert speed_environment(environ, {}, {"tensorflow"}, preloaded=tmp_path / "none") == {}


def test_no_value_can_act_on_the_reader_of_a_record(tmp_path):
    environ = {"MALLOC_CONF": "a\u202eb<script>`x`${y}" * 50}
    [value] = speed_environment(environ, preloaded=tmp_path / "none").values()
    assert markup_in(value) is None
    assert len(value) == 100


def test_what_the_platforms_image_sets_is_no_users_doing(tmp_path):
    kaggle = image_defaults("kaggle")
    assert kaggle == {"MKL_THREADING_LAYER": "GNU"}
    none = tmp_path / "none"
    assert speed_environment(kaggle, kaggle, preloaded=none) == {}
    other = {"MKL_THREADING_LAYER": "INTEL"}
    assert speed_environment(other, kaggle, preloaded=none) == other
    assert image_defaults("none") == {}


def test_a_library_that_the_system_preloads_is_recorded_too(tmp_path):
    listed = tmp_path / "ld.so.preload"
    listed.write_text("/usr/lib/libjemalloc.so.2\n")
    assert speed_environment({}, preloaded=listed) == {"ld.so.preload": "libjemalloc.so.2"}


def test_what_a_framework_adds_to_the_environment_is_no_users_doing(monkeypatch):
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    assert "TF_FORCE_GPU_ALLOW_GROWTH" not in speed_environment()


@pytest.mark.parametrize(("asked", "threads"), [("1", 1), ("3,2", 3), ("", None), ("many", None)])
def test_omp_num_threads_is_respected(asked, threads):
    free = cpus.threads(environ={})
    assert cpus.threads(environ={"OMP_NUM_THREADS": asked}) == (threads or free)


def test_every_entry_says_what_it_does_and_where_that_was_read():
    table = influences._table()
    for entry in table["variables"]:
        assert entry["effect"] in ("refuse", "neutralise", "speed", "harmless"), entry
        assert entry["source"]
        assert set(entry["of"]) <= influences.ANYTHING
        assert ("why" in entry) == (entry["effect"] in ("refuse", "neutralise")), entry


@pytest.mark.slow
def test_lightnings_trainer_really_is_changed_by_what_is_refused():
    script = (
        "import lightning.pytorch as pl\n"
        "print(pl.Trainer(logger=False, enable_checkpointing=False,"
        " accelerator='cpu').limit_train_batches)"
    )
    environ = {**os.environ, "PL_TRAINER_LIMIT_TRAIN_BATCHES": "7"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == "7"
