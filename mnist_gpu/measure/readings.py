"""What is read of a machine, as a record holds it: a reading that the platform hides is null, and
its reason stands in the `reasons` beside it.
"""

from typing import Annotated

from pydantic import Field, StringConstraints

from mnist_gpu.fields import Count, Name, NotNegative, Part, Sha256, Text


class Hardware(Part):
    """What it ran on."""

    cpu_model: Text | None
    cpu_family_model_stepping: Text | None = Field(
        default=None, description="as the processor numbers itself, such as 25/17/1"
    )
    isa: Name | None = Field(default=None, description="the widest vector set it has")
    logical_cpus: Count = Field(description="CPUs of the machine that the process may use")
    cores: Count | None = Field(default=None, description="physical cores among them")
    cpu_quota: NotNegative | None = Field(description="CPUs allowed by the cgroup, null: no limit")
    threads: Count = Field(description="threads the framework computed with")
    ram_gib: NotNegative | None
    accelerator: Name = Field(description="cpu, cuda, mps, gpu, ...")
    accelerator_name: Text | None
    accelerator_count: Count
    driver: Text | None = None
    power_limit_w: NotNegative | None = None
    virtualised: bool = False
    hypervisor: Text | None = Field(default=None, description="or container, where there is one")
    reasons: dict[Name, Text] = Field(default_factory=dict)


class Software(Part):
    """What it ran with."""

    python: Text
    os: Text
    packages: dict[Annotated[str, StringConstraints(max_length=64)], Text]
    git_commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,64}$")] | None
    git_dirty: bool | None
    program_version: Text = Field(description="version of mnist-gpu")
    package_sha256: Sha256 | None = Field(
        default=None, description="of the installed package's files; a listed release's is known"
    )


class Resources(Part):
    """What the run used, over the epochs; null with a reason where it cannot be read."""

    cpu_percent: NotNegative | None = Field(description="of the process, 100 is one full core")
    rss_peak_mib: NotNegative | None
    gpu_percent: NotNegative | None
    gpu_memory_peak_mib: NotNegative | None
    gpu_power_w: NotNegative | None
    energy_j: NotNegative | None
    energy_source: Text | None
    throttled_s: NotNegative | None = Field(description="time the cgroup held the run back")
    samples: Count
    foreign_cpu_percent: NotNegative | None = Field(
        default=None, description="used by other processes on the CPUs the run may use"
    )
    suspended_s: NotNegative | None = Field(
        default=None, description="time asleep: wall clock over monotonic clock"
    )
    warnings: list[Text] = Field(default_factory=list, description="what casts doubt on the timing")
    reasons: dict[Name, Text] = Field(default_factory=dict)
