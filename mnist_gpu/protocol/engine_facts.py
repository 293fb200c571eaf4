"""What an engine knows of itself once it is built."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class EngineFacts:
    """What the record says of the engine that ran.

    Attributes:
        framework, framework_version: such as PyTorch Lightning 2.6.6.
        backend: what computes underneath.
        precision: of the arithmetic, by the protocol's name.
        accelerator: `cpu`, `cuda`, `mps`.
        accelerator_name: what the device calls itself.
        accelerator_count: over all machines.
        threads: that the framework computes with on a CPU; None where it does not tell.
        compile: `none`, or what compiled the step.
        deterministic: whether the same seed gives the same bits again on this machine.
        switches: documented public switches that were on, by name.
        kernels: names of this project's own kernels that computed.
        deviations_from_defaults: where a default of the framework was set aside, a line each.
        data_wait_hidden: why the wait for batches cannot be known; None where it is measured.
    """

    framework: str
    framework_version: str
    backend: str
    precision: str
    accelerator: str
    accelerator_name: str
    accelerator_count: int = 1
    threads: int | None = None
    compile: str = "none"
    deterministic: bool = True
    switches: Mapping[str, bool | int | str] = field(default_factory=dict)
    kernels: Sequence[str] = ()
    deviations_from_defaults: Sequence[str] = ()
    data_wait_hidden: str | None = None

    def deviating(self, *lines: str) -> "EngineFacts":
        """The same, with more lines of `deviations_from_defaults`."""
        return replace(self, deviations_from_defaults=[*self.deviations_from_defaults, *lines])

    def division(self, environment: Mapping[str, str]) -> str:
        """`stock`, `tuned` or `open`, from what was on.

        Args:
            environment: what the user's environment changes in speed; counts as a switch.
        """
        if self.kernels:
            return "open"
        return "tuned" if self.switches or environment else "stock"
