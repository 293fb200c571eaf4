"""The record of one run, schema version 2. `docs/record.schema.json` is exported from here.

Fields carry their unit in their name. A reading the platform hides is null, and its reason stands
in the `reasons` beside it. Nothing here names a host, a user or a path.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from mnist_gpu.fields import (
    Count,
    Finite,
    Fraction,
    Name,
    NotNegative,
    Part,
    Seconds,
    Sha256,
    Text,
    UtcInstant,
)
from mnist_gpu.measure.readings import Hardware, Resources, Software

Precision = Literal["float32", "tf32", "bf16-mixed", "16-mixed", "float64"]
DatasetName = Literal["mnist", "synthetic", "custom"]
Status = Literal["completed", "interrupted", "failed", "diverged"]
Division = Literal["stock", "tuned", "open"]


class Platform(Part):
    """Where the run says it was, and what was found there."""

    name: Name
    label: Text
    kind: Literal["local", "cloud", "hpc"]
    claimed: Name = Field(description="the platform asked for")
    detected: Name = Field(description="the platform that the signals speak for")
    verified: bool = Field(description="whether what was claimed is what was detected")
    rehearsal: bool = Field(
        default=False,
        description="whether the platform was a stand-in: a hub, say, on one's own machine",
    )
    signals: dict[Name, Text] = Field(
        default_factory=dict, description="what detection saw; none of it secret"
    )


class EngineRecord(Part):
    """Who trained, and what was switched on."""

    name: Name
    version: Annotated[int, Field(ge=1)] = Field(
        description="of the engine: raised when its speed or mathematics changes"
    )
    framework: Text
    framework_version: Text
    backend: Text
    precision: Precision
    compile: Text = Field(description="none, or what compiled the step")
    deterministic: bool = Field(
        default=True, description="whether the same seed gives the same bits on this machine"
    )
    division: Division = Field(description="worked out from what was on, never claimed")
    switches: dict[Name, bool | int | Text] = Field(
        default_factory=dict, description="documented public switches that were on"
    )
    kernels: list[Name] = Field(
        default_factory=list, description="kernels of this project's own that computed"
    )
    environment: dict[Name, Text] = Field(
        default_factory=dict,
        description="what the user's environment changes in speed, beyond the platform's image",
    )
    deviations_from_defaults: list[Text] = Field(
        default_factory=list,
        description="where the framework's own default was set aside, and for what",
    )


class WorkloadRecord(Part):
    """What was trained."""

    model: Name
    n_parameters: Count
    flops_per_sample: Count = Field(
        description="to train on one sample, forward and backward, counted layer by layer; a fast"
        " kernel may do fewer"
    )
    dataset: DatasetName
    dataset_sha256: Sha256
    n_train: Count
    n_test: Count
    epochs: Annotated[int, Field(ge=1)] = Field(description="asked for")
    batch_size: Annotated[int, Field(ge=1)] = Field(description="global")
    optimizer: Name
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    devices: Annotated[int, Field(ge=1)] = 1
    num_nodes: Annotated[int, Field(ge=1)] = 1
    scaling: Literal["strong", "weak"] = "strong"
    steps_made: Count = Field(description="optimizer steps, counted by the optimizer itself")
    standard: bool = Field(description="whether the run follows the protocol in everything")
    deviations: list[Text] = Field(description="every way in which it does not")


class Timing(Part):
    """Phases that exclude each other and add up to `total_s`."""

    total_s: Seconds
    startup_s: Seconds
    data_s: Seconds
    build_s: Seconds
    warmup_s: Seconds
    train_s: Seconds
    eval_s: Seconds
    checkpoint_s: Seconds
    other_s: Seconds
    first_epoch_s: Seconds | None = Field(description="train_s of epoch 1")
    steady_epoch_s: Seconds | None = Field(description="median train_s of the other epochs")
    segments: Annotated[int, Field(ge=1)] = Field(description="1 unless resumed")
    data_wait_s: Seconds | None = Field(
        description="within train_s: the host's wait for the next batch"
    )
    reasons: dict[Name, Text] = Field(default_factory=dict)


class EpochRecord(Part):
    """One pass over the training set and the evaluation after it."""

    epoch: Annotated[int, Field(ge=1)]
    train_s: Seconds
    eval_s: Seconds
    train_loss: Finite
    train_accuracy: Fraction
    test_loss: Finite
    test_accuracy: Fraction
    data_wait_s: Seconds | None = None


class Result(Part):
    """What came out: of the last epoch, never of the best."""

    test_accuracy: Fraction | None
    test_loss: Finite | None
    weights_sha256: Sha256 | None
    images_per_s: NotNegative | None = Field(description="training images over train_s")
    flops_per_s: NotNegative | None = Field(
        description="the training's counted operations over train_s"
    )


class Price(Part):
    """What an hour costs, in the unit of whoever charges it."""

    amount_per_hour: NotNegative | None
    unit: Text | None = Field(description="USD, SU, CU, kWh ...")
    source: Text | None
    as_of: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$")] | None
    free: bool = Field(description="whether whoever runs it there is charged nothing")
    reason: Text | None = Field(default=None, description="why there is no amount")


class Limits(Part):
    """How long the platform lets one run, and how much a week."""

    session_s: Seconds | None
    quota_s_per_week: Seconds | None
    source: Text | None = None
    as_of: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$")] | None = None
    reason: Text | None = Field(default=None, description="why there are none")


class Record(Part):
    """One run."""

    schema_version: Literal[2]
    protocol_version: Literal[1]
    run_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-z-]{8,64}$")]
    created_at: UtcInstant
    status: Status
    status_reason: Text | None = None
    platform: Platform
    engine: EngineRecord
    hardware: Hardware
    software: Software
    workload: WorkloadRecord
    timing: Timing
    epochs: list[EpochRecord]
    result: Result
    resources: Resources
    price: Price
    limits: Limits

    def __reduce__(self) -> tuple[Any, ...]:
        # between processes: a third of the time that its parts would take one by one
        return type(self).model_validate_json, (self.model_dump_json(exclude_unset=True),)


def schema_json() -> str:
    """The JSON Schema of a record, as kept in `docs/record.schema.json`."""
    return json.dumps(Record.model_json_schema(), indent=2, sort_keys=True) + "\n"
