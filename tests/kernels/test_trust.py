"""A kernel computes what PyTorch's operations compute, or is not used."""

import logging
import math
import os
import shutil
from dataclasses import replace

import torch

from mnist_gpu.engines.torch.kernels import compiler, kernel
from mnist_gpu.protocol.network import Layer
from tests.kernels.calls import AFTER, draw, forward, layer, loaded, pooled


def test_layers_of_other_kinds_and_sizes_are_left_to_pytorch():
    def supported(layer: Layer, *before: Layer, dtype=torch.float32) -> list[str]:
        return [
            name
            for name, after in AFTER.items()
            if kernel.supports(name, [layer, *after], before, dtype)
        ]

    def linear(features: int, units: int) -> Layer:
        return Layer("linear", "fc", units=units, input_shape=(features,))

    relu, conv = Layer("relu"), layer("conv1", 1, 16, 6, 6)
    assert supported(linear(128, 128), conv, relu) == ["sparse_linear"]
    assert supported(linear(128, 128), conv, relu, dtype=torch.float16) == []
    assert supported(linear(128, 128), conv) == []
    assert supported(linear(100, 128), conv, relu) == supported(linear(128, 100), conv, relu) == []
    flatten = Layer("flatten")
    assert supported(linear(784, 128), flatten) == ["first_linear"]
    # of another layer's output there would be a gradient
    assert supported(linear(784, 128), conv, flatten) == []
    assert supported(linear(100, 128), flatten) == supported(linear(784, 100), flatten) == []
    assert supported(conv, relu) == ["first_convolution"]
    assert supported(conv, conv) == supported(replace(conv, padding=1), relu) == []
    assert supported(layer("conv2", 16, 64, 6, 6), conv) == ["pooled_convolution"]
    assert supported(layer("conv2", 8, 64, 6, 6), conv) == []
    assert supported(layer("conv2", 16, 32, 6, 6), conv) == []


def test_a_network_that_diverges_shows_it():
    linear = Layer("linear", "fc1", units=64, input_shape=(64,))
    for made, x, weight in (
        (loaded("first_convolution", layer("c1", 1, 16, 6, 6)), (1, 1, 6, 6), (16, 1, 3, 3)),
        (pooled(layer("c2", 16, 64, 6, 6)), (1, 16, 6, 6), (64, 16, 3, 3)),
        (loaded("first_linear", linear), (2, 64), (64, 64)),
        (loaded("sparse_linear", linear), (2, 64), (64, 64)),
    ):
        for given in ((draw(*x) * math.nan, draw(*weight)), (draw(*x), draw(*weight) * math.nan)):
            assert forward(made, *given, draw(made.output_shape[0]))["output"].isnan().all()


def test_without_a_compiler_there_is_none_and_one_line_says_why(afresh, monkeypatch, caplog):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CC", raising=False)
    conv = layer("conv2", 16, 64, 6, 6)
    with caplog.at_level(logging.WARNING):
        assert pooled(conv, torch.float32) is None
        assert pooled(conv, torch.float32) is None
    [record] = caplog.records
    assert record.getMessage().startswith("conv2: our own kernel is not used: there is no C comp")


def test_a_compiler_that_fails_is_quoted(afresh, monkeypatch, caplog):
    monkeypatch.setattr(kernel, "TYPES", {torch.float32: ("flaot", "int32_t")})
    assert pooled(layer("conv2", 16, 64, 6, 6), torch.float32) is None
    assert "flaot" in caplog.text
    assert list(afresh.iterdir()) == []


def test_a_kernel_that_computes_something_else_is_not_trusted(
    afresh, monkeypatch, tmp_path, caplog
):
    wrong = shutil.copytree(kernel.FOLDER, tmp_path / "wrong")
    header = wrong / "winograd.h"
    right = header.read_text()
    header.write_text(right.replace("{h0 - h2, h1 + h2, h2 - h1, h1 - h3}", "{h0, h1, h2, h3}"))
    assert header.read_text() != right
    monkeypatch.setattr(kernel, "FOLDER", wrong)
    assert pooled(layer("conv2", 16, 64, 6, 6), torch.float32) is None
    assert "does not compute what PyTorch computes" in caplog.text


def test_a_kernel_is_compiled_once_and_kept(afresh, monkeypatch):
    conv = layer("conv2", 16, 64, 6, 6)
    assert pooled(conv, torch.float32) is not None
    [kept] = afresh.iterdir()
    kernel.get_kernel.cache_clear()

    def never(*_):
        raise AssertionError("compiled again")

    monkeypatch.setattr(compiler, "_compile", never)
    assert pooled(conv, torch.float32) is not None
    assert [kept] == list(afresh.iterdir())


def test_a_kept_file_that_others_may_write_is_not_loaded(afresh):
    conv = layer("conv2", 16, 64, 6, 6)
    assert pooled(conv, torch.float32) is not None
    [kept] = afresh.iterdir()
    before = kept.stat().st_ino
    kept.chmod(0o777)
    kernel.get_kernel.cache_clear()
    assert pooled(conv, torch.float32) is not None
    [kept] = afresh.iterdir()
    assert kept.stat().st_ino != before
    assert not kept.stat().st_mode & 0o022


def test_other_sizes_and_another_compiler_get_kernels_of_their_own(afresh, monkeypatch):
    for conv in (layer("a", 16, 64, 6, 6), layer("b", 16, 64, 8, 6)):
        assert pooled(conv, torch.float32) is not None
    monkeypatch.setenv("CC", "gcc -g0")
    kernel.get_kernel.cache_clear()
    assert pooled(layer("a", 16, 64, 6, 6), torch.float32) is not None
    assert len(list(afresh.iterdir())) == 3


def test_a_cache_that_cannot_be_written_costs_nothing(afresh, monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert pooled(layer("conv2", 16, 64, 6, 6), torch.float32) is not None


def test_a_kept_file_that_is_damaged_is_no_error(afresh, caplog):
    conv = layer("conv2", 16, 64, 6, 6)
    assert pooled(conv, torch.float32) is not None
    [kept] = afresh.iterdir()
    # a new file: the old one is mapped into this process
    os.unlink(kept)
    kept.write_bytes(b"half a file")
    kernel.get_kernel.cache_clear()
    assert pooled(conv, torch.float32) is not None
