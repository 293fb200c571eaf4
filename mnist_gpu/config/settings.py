"""The configuration as checked values: a class for each group of `conf/`, a description for each
field.

`--help`, docs/configuration.md and the line that refuses a value are all made from the types and
descriptions here. Defaults stand in `conf/` alone.
"""

import re
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from mnist_gpu.config.devices import refuse_uneven
from mnist_gpu.config.words import no_such_key, no_such_switch
from mnist_gpu.errors import UserError
from mnist_gpu.paths import choices, shipped
from mnist_gpu.protocol.network import Network
from mnist_gpu.records.acceptable import (
    HIGHEST_PRICE_PER_HOUR,
    date_fault,
    markup_in,
    price_faults,
    private_part_of,
)
from mnist_gpu.records.schema import Name, Precision, Text

MAX_EPOCHS = 100_000
MAX_BATCH_SIZE = 60_000
MAX_DEVICES = 4096
MAX_LAYER = 100_000
MAX_PARAMETERS = 500_000_000
MAX_LABEL_COLUMNS = 80
# of MNIST and of the drawn digits; a custom set is looked at again when it is there
USUAL_TRAINING_IMAGES = 60_000
NOT_A_LABEL = {"", "tbd", "todo", "n/a", "na", "none", "null", "unknown", "?", "???", "-", "..."}


def _recordable(text: str) -> str:
    """Refuse what `mnist_gpu.validate` would refuse in the record."""
    if reason := markup_in(text) or private_part_of(text):
        raise ValueError(reason)
    return text


def _label(text: str) -> str:
    columns = sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
    if columns > MAX_LABEL_COLUMNS:
        raise ValueError(f"is {columns} columns wide, at most {MAX_LABEL_COLUMNS}")
    if text.strip().lower() in NOT_A_LABEL or not any(char.isalnum() for char in text):
        raise ValueError("names no platform; say in a few words what it is")
    return text


def _past_date(text: str) -> str:
    if reason := date_fault(text):
        raise ValueError(reason)
    return text


def _names_class(node: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(node.get("_target_"), str):
        raise ValueError("needs _target_, the class to make, and beside it the class's arguments")
    return node


RecordText = Annotated[Text, AfterValidator(_recordable)]
Label = Annotated[RecordText, AfterValidator(_label)]
Date = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$"), AfterValidator(_past_date)]
Instance = Annotated[dict[str, Any], AfterValidator(_names_class)]
"""A node that `hydra.utils.instantiate` makes an object of: `_target_` and its arguments."""
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
PerRun = Annotated[int, Field(ge=1, le=MAX_DEVICES)]


class Group(BaseModel):
    """Base of every group: keys are closed, and no value is made of another type's."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PriceSettings(Group):
    """What an hour costs, in the unit of whoever charges it."""

    amount_per_hour: (
        Annotated[float, Field(ge=0, le=HIGHEST_PRICE_PER_HOUR, allow_inf_nan=False)] | None
    ) = Field(default=None, description="price of an hour")
    unit: RecordText | None = Field(default=None, description="USD, SU, CU, kWh ...")
    source: RecordText | None = Field(
        default=None, description="where the price stands: an https page"
    )
    as_of: Date | None = Field(default=None, description="when it stood there")
    free: bool = Field(
        default=False, description="whether nobody is charged, and time is the only cost"
    )
    reason: RecordText | None = Field(default="not stated", description="why there is no amount")

    @model_validator(mode="after")
    def _consistent(self) -> "PriceSettings":
        for field, reason in price_faults(self):
            raise UserError(f"platform.price.{field}: {reason}")
        if self.free and self.amount_per_hour:
            raise UserError("platform.price.free=true: there is an amount too; set one of them")
        return self


class LimitsSettings(Group):
    """How long the platform lets a run go on; null where there is no such limit, or none known."""

    session_s: Seconds | None = Field(default=None, description="longest session, seconds")
    quota_s_per_week: Seconds | None = Field(default=None, description="a week's use, seconds")
    source: RecordText | None = Field(default=None, description="where the limits stand")
    as_of: Date | None = Field(default=None, description="when they stood there")
    reason: RecordText | None = Field(default="not stated", description="why a limit is null")

    @model_validator(mode="after")
    def _sourced(self) -> "LimitsSettings":
        stated = self.session_s is not None or self.quota_s_per_week is not None
        if stated and not (self.source and self.as_of):
            raise UserError("platform.limits: a limit needs its source and as_of")
        if not stated and not self.reason:
            raise UserError("platform.limits.reason: is missing although there is no limit")
        return self


class DetectSettings(Group):
    """What must hold for a run to count as made there; without a key, any machine will do."""

    frontend: Literal["kaggle", "colab", "jupyterhub", "slurm", "none"] | None = Field(
        default=None, description="what started the process"
    )
    host: Literal["kaggle", "colab", "openstack", "jetstream", "apple", "none"] | None = Field(
        default=None, description="where it runs"
    )
    chip: RecordText | None = Field(
        default=None, description="brand of the processor, on a Mac, exactly"
    )
    gpu_contains: RecordText | None = Field(
        default=None, description="part of the accelerator's own name"
    )


class PlatformSettings(Group):
    """Where the run is, what it must have there, and what that costs."""

    name: Name = Field(description="its name in records, folders and on the command line")
    label: Label = Field(description="its name for people, in tables")
    kind: Literal["local", "cloud", "hpc"] = Field(description="whose machine it is")
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = Field(
        description="what must be there; auto takes what there is"
    )
    detect: DetectSettings | None = Field(
        default=None,
        description="what must hold to be verified there; null: never verified, never chosen",
    )
    price: PriceSettings = PriceSettings()
    limits: LimitsSettings = LimitsSettings()
    flavors: dict[str, float] = Field(
        default_factory=dict, description="for a launcher: price of an hour by kind of server"
    )

    @property
    def rule(self) -> dict[str, str] | None:
        """`detect` as `measure.detect` takes it."""
        return None if self.detect is None else self.detect.model_dump(exclude_none=True)


class EngineSettings(Group):
    """Who trains. An engine's own keys and switches are those of its file in `conf/engine/`."""

    model_config = ConfigDict(extra="allow")

    name: Name = Field(description="the framework's engine")
    switches: dict[Name, bool | int | str | None] = Field(
        default_factory=dict, description="documented public options of the framework; null: off"
    )

    @model_validator(mode="after")
    def _known(self) -> "EngineSettings":
        if self.name not in choices("engine"):
            raise UserError(f"engine.name={self.name}: choose from {', '.join(choices('engine'))}")
        own = shipped(f"engine/{self.name}")
        for key in self.options:
            if key not in own:
                raise UserError(no_such_key(f"engine.{key}", own))
        for key in self.switches:
            if key not in own["switches"]:
                raise UserError(no_such_switch(key, self.name))
        return self

    @property
    def asked(self) -> dict[str, bool | int | str]:
        """The switches that were given a value."""
        return {name: value for name, value in self.switches.items() if value is not None}

    @property
    def uses(self) -> set[str]:
        """The engine and, with Keras, its backend: the words of `measure/influences.yaml`."""
        return {self.name, str(self.options.get("backend", self.name))}

    @property
    def options(self) -> dict[str, Any]:
        """The engine's own keys, such as Keras' `backend`."""
        return dict(self.model_extra or {})


class DivisionSettings(Group):
    """What the engine may switch on by itself; what ran decides what the record says."""

    name: Literal["stock", "tuned", "open"] = Field(
        description="stock: the framework as it comes; tuned: with public switches that help;"
        " open: with kernels of this project"
    )


class ModelSettings(Group):
    """The network, as data."""

    name: Name = Field(description="its name in records")
    dropout: bool = Field(description="false turns every dropout rate to 0")
    layers: list[dict[str, Any]] = Field(description="layer by layer: docs/protocol.md")

    @model_validator(mode="after")
    def _possible(self) -> "ModelSettings":
        for number, layer in enumerate(self.layers):
            for key, value in layer.items():
                if key in ("kind", "name"):
                    fits = isinstance(value, str) and re.fullmatch(r"[\w.+-]{1,64}", value, re.A)
                    may_be = "letters, digits and _ . + - only"
                else:
                    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
                    fits = is_number and 0 <= value <= MAX_LAYER
                    may_be = f"a number from 0 to {MAX_LAYER}"
                if not fits:
                    raise UserError(f"model.layers[{number}].{key}={value!r}: {may_be}")
        count = Network.from_config(self.name, self.layers, self.dropout).n_parameters
        if count > MAX_PARAMETERS:
            raise UserError(f"model.layers: {count:,} parameters, at most {MAX_PARAMETERS:,}")
        return self


class DataSettings(Group):
    """Which images."""

    source: Literal["mnist", "synthetic", "auto"] = Field(
        description="the published set, digits drawn by this project, or the first where it is had"
    )
    dir: str | None = Field(description="folder with the four files of MNIST")
    download: bool = Field(description="whether to fetch them where they are nowhere")
    cache_dir: str | None = Field(description="where what was fetched is kept")
    custom: bool = Field(description="accept other files in MNIST's form, as data set `custom`")


class LoggerSettings(Group):
    """Where the curves go: one of ours for every engine, or any of Lightning's by `_target_`."""

    name: Name = Field(description="tensorboard, csv, none, or the class of `node`")
    node: Instance | None = Field(default=None, description="the logger that Lightning is given")

    @model_validator(mode="before")
    @classmethod
    def _by_target(cls, given: Any) -> Any:
        if isinstance(given, dict) and "_target_" in given:
            return {"name": str(given["_target_"]).rpartition(".")[2], "node": given}
        return given

    @model_validator(mode="after")
    def _known(self) -> "LoggerSettings":
        if self.node is None and self.name not in ("tensorboard", "csv", "none"):
            raise UserError(f"logger.name={self.name}: choose from tensorboard, csv, none")
        return self


class Settings(Group):
    """One run, checked."""

    platform: PlatformSettings
    engine: EngineSettings
    division: DivisionSettings
    model: ModelSettings
    data: DataSettings
    logger: LoggerSettings
    trainer: Instance = Field(description="Lightning's Trainer and its arguments")
    callbacks: dict[str, Instance] = Field(description="Lightning callbacks, by name")
    launcher: Literal["local", "slurm", "slurm_local"] = Field(description="who starts the jobs")
    seed: Seed = Field(description="of weights, batch order and dropout")
    epochs: Annotated[int, Field(ge=1, le=MAX_EPOCHS)] = Field(description="passes over the data")
    batch_size: Annotated[int, Field(ge=1, le=MAX_BATCH_SIZE)] = Field(
        description="images in an optimizer step, over all devices"
    )
    learning_rate: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] = Field(
        description="Adam's step size"
    )
    precision: Precision = Field(description="of the arithmetic; float64 serves proofs")
    devices: PerRun = Field(description="accelerators on each machine; they share every batch")
    num_nodes: PerRun = Field(description="machines")
    scaling: Literal["strong", "weak"] = Field(
        description="strong: the global batch stays; weak: each device has a whole batch"
    )
    checkpoint_every: Annotated[int, Field(ge=0, le=MAX_EPOCHS)] = Field(
        description="epochs between checkpoints; 0: only the final weights"
    )
    resume: str | None = Field(
        description="a run's folder, or auto: the newest unfinished run of this configuration"
    )
    profile_steps: Annotated[int, Field(ge=0, le=1000)] = Field(
        description="steps to trace before the run, off the clock, into <run folder>/profile"
    )
    estimate: bool = Field(
        description="end with an estimate of the standard run, worked out from this one's steps"
    )
    rerun: bool = Field(description="redo a sweep's job although its valid record exists")

    @property
    def world(self) -> int:
        """How many devices train together, on all machines."""
        return self.devices * self.num_nodes

    @property
    def global_batch_size(self) -> int:
        """Images in an optimizer step; with `scaling=weak` every device has a batch of its own."""
        return self.batch_size * (self.world if self.scaling == "weak" else 1)

    @model_validator(mode="after")
    def _possible_together(self) -> "Settings":
        self._refuse_for_other_engines()
        if self.world > 1:
            self._refuse_devices()
        if self.global_batch_size > MAX_BATCH_SIZE:
            raise UserError(
                f"scaling=weak: {self.world} batches of {self.batch_size} are more than"
                f" {MAX_BATCH_SIZE} images"
            )
        return self

    def _refuse_for_other_engines(self) -> None:
        if self.engine.name == "lightning":
            return
        asked = {
            f"callbacks={','.join(self.callbacks)}": self.callbacks,
            f"logger={self.logger.name}": self.logger.node,
            "trainer": self.trainer != shipped("trainer/default"),
        }
        for what, is_set in asked.items():
            if is_set:
                raise UserError(
                    f"{what}: goes to Lightning's Trainer, which engine={self.engine.name} does not"
                    " use; choose engine=lightning"
                )

    def _refuse_devices(self) -> None:
        asked = f"devices={self.devices}"
        if self.engine.name != "lightning":
            raise UserError(
                f"{asked}: engine={self.engine.name} trains on one device; choose engine=lightning"
            )
        if self.platform.accelerator == "mps":
            raise UserError(f"{asked}: a Mac has one Metal GPU; use devices=1")
        if self.profile_steps:
            raise UserError(f"profile_steps={self.profile_steps}: traces one device; use devices=1")
        refuse_uneven(self, USUAL_TRAINING_IMAGES)
