"""A driver or GPU that PyTorch's CUDA cannot use is named with what is needed and the mend."""

import pytest

from mnist_gpu.engines.torch import device
from mnist_gpu.errors import UserError
from mnist_gpu.measure import gpus


class Nvml:
    """NVIDIA's library on a machine with one GPU."""

    def __init__(self, driver: str, capability: tuple[int, int]) -> None:
        self.driver, self.capability = driver, capability

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlSystemGetDriverVersion(self) -> str:
        return self.driver

    def nvmlDeviceGetCudaComputeCapability(self, _: int) -> tuple[int, int]:
        return self.capability


def why(build: str | None, driver: str, capability: tuple[int, int], answers: bool = False) -> str:
    return gpus.why_not(build, answers, Nvml(driver, capability)) or ""


@pytest.mark.parametrize("driver", ["580.65.06", "580.82", "590.44.01"])
def test_a_driver_for_cuda_13_is_fine(driver: str) -> None:
    assert why("13.2", driver, (8, 0)) == ""


@pytest.mark.parametrize("driver", ["535.183.01", "570.195.03", "580.65.05"])
def test_an_older_driver_is_named_with_what_is_needed_and_the_mend(driver: str) -> None:
    said = why("13.2", driver, (8, 0))
    assert f"driver is {driver}" in said
    assert "CUDA 13.2 needs 580.65.06 or newer" in said
    assert "pip install 'torch>=2.10,<2.11'" in said


def test_a_driver_too_old_for_any_build_is_told_to_be_updated_alone() -> None:
    said = why("13.2", "470.82.01", (8, 0))
    assert "update the driver" in said
    assert "pip install" not in said


def test_a_build_with_cuda_12_asks_for_less() -> None:
    assert why("12.8", "535.183.01", (7, 0)) == ""


def test_a_driver_that_works_all_the_same_is_not_complained_about() -> None:
    assert why("13.0", "570.195.03", (8, 0), answers=True) == ""


def test_a_gpu_that_the_build_has_no_code_for_is_named() -> None:
    said = why("13.2", "580.82", (7, 0), answers=True)
    assert "compute capability is 7.0" in said
    assert "needs 7.5 or more" in said
    assert "pip install 'torch>=2.10,<2.11'" in said


def test_a_build_without_cuda_beside_a_gpu_is_said() -> None:
    assert "built without CUDA" in why(None, "580.82", (8, 0))


def test_without_a_gpu_there_is_nothing_to_say() -> None:
    class Nothing(Nvml):
        def nvmlInit(self) -> None:
            raise OSError("no driver")

    assert gpus.why_not("13.2", False, Nothing("", (0, 0))) is None


def test_a_run_ends_with_that_line_instead_of_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    found = gpus.Gpu(Nvml("535.183.01", (8, 0)), 0)
    monkeypatch.setattr(gpus, "find", lambda *_, **__: (found, ""))
    monkeypatch.setattr(device.torch.version, "cuda", "13.2")
    monkeypatch.setattr(device.torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"driver is 535\.183\.01.*580\.65\.06"):
        device.choose("cuda")
    assert device.choose("auto").type == "cpu"
