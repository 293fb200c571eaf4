"""A platform as checked values: a file of `conf/platform/`, or one of the user's own."""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from mnist_gpu.errors import UserError
from mnist_gpu.fields import Name, Text
from mnist_gpu.records import acceptable


def _refusing(*faults: Callable[[str], str | None]) -> AfterValidator:
    """Refuse what `mnist_gpu.validate` would refuse in the record, for the first reason."""

    def check(text: str) -> str:
        for fault in faults:
            if reason := fault(text):
                raise ValueError(reason)
        return text

    return AfterValidator(check)


RecordText = Annotated[Text, _refusing(acceptable.markup_in, acceptable.private_part_of)]
Label = Annotated[RecordText, _refusing(acceptable.label_fault)]
Date = Annotated[
    str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$"), _refusing(acceptable.date_fault)
]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=acceptable.HIGHEST_PRICE_PER_HOUR, allow_inf_nan=False)]


class Group(BaseModel):
    """Base of every group: keys are closed, and no value is made of another type's."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PriceSettings(Group):
    """What an hour costs, in the unit of whoever charges it."""

    amount_per_hour: Amount | None = Field(None, description="price of an hour")
    unit: RecordText | None = Field(None, description="USD, SU, CU, kWh ...")
    source: RecordText | None = Field(None, description="where the price stands: an https page")
    as_of: Date | None = Field(None, description="when it stood there")
    free: bool = Field(False, description="whether nobody is charged, and time is the only cost")
    reason: RecordText | None = Field(acceptable.UNSTATED, description="why there is no amount")

    @model_validator(mode="after")
    def _consistent(self) -> "PriceSettings":
        # the same judgement as of a finished record, but before hours of training
        for field, reason in acceptable.price_faults(self):
            raise UserError(f"platform.price.{field}: {reason}")
        if self.free and self.amount_per_hour:
            raise UserError("platform.price.free=true: there is an amount too; set one of them")
        return self


class LimitsSettings(Group):
    """How long the platform lets a run go on; null where there is no such limit, or none known."""

    session_s: Seconds | None = Field(None, description="longest session, seconds")
    quota_s_per_week: Seconds | None = Field(None, description="a week's use, seconds")
    source: RecordText | None = Field(None, description="where the limits stand")
    as_of: Date | None = Field(None, description="when they stood there")
    reason: RecordText | None = Field(acceptable.UNSTATED, description="why a limit is null")

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
        None, description="what started the process"
    )
    host: Literal["kaggle", "colab", "openstack", "jetstream", "apple", "none"] | None = Field(
        None, description="where it runs"
    )
    chip: RecordText | None = Field(None, description="brand of the processor, on a Mac, exactly")
    gpu_contains: RecordText | None = Field(None, description="part of the accelerator's own name")


class PlatformSettings(Group):
    """Where the run is, what it must have there, and what that costs."""

    name: Name = Field(description="its name in records, folders and on the command line")
    label: Label = Field(description="its name for people, in tables")
    kind: Literal["local", "cloud", "hpc"] = Field(description="whose machine it is")
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = Field(
        description="what must be there; auto takes what there is"
    )
    rehearsal: bool = Field(
        False, description="whether this is a stand-in for it, such as a hub on one's own machine"
    )
    detect: DetectSettings | None = Field(
        None, description="what must hold to be verified there; null: never verified, never chosen"
    )
    price: PriceSettings = PriceSettings.model_validate({})
    limits: LimitsSettings = LimitsSettings.model_validate({})
    flavors: dict[str, float] = Field(
        {}, description="for a launcher: price of an hour by kind of server"
    )

    @property
    def rule(self) -> dict[str, str] | None:
        """`detect` as `measure.detect` takes it."""
        return None if self.detect is None else self.detect.model_dump(exclude_none=True)
