"""What others have published: a table apart, and notes on rows far outside its ranges."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mnist_gpu.errors import UserError
from mnist_gpu.fields import Text
from mnist_gpu.numbers import figure
from mnist_gpu.records.store import printable
from mnist_gpu.report.rows import Row

FILE_NAME = "published.yaml"


def _pair(value: Any) -> Any:
    return value if isinstance(value, list) else [value, value]


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("the least stands before the most")
    return bounds


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Date = Annotated[Text, BeforeValidator(str)]
Range = Annotated[tuple[Positive, Positive], BeforeValidator(_pair), AfterValidator(_ordered)]
ANY = re.compile("")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(_Part):
    """One published number, `seconds_per_epoch` from least to most."""

    hardware: Text
    seconds_per_epoch: Range
    framework: Text | None
    network: Text | None
    batch_size: int | None
    differs_in: Text
    source: Text
    published: Date | None

    @property
    def time(self) -> str:
        """`23` or `23 to 25`."""
        return " to ".join(dict.fromkeys(f"{bound:g}" for bound in self.seconds_per_epoch))


class KindOfMachine(_Part):
    """The range that was inferred for a kind of machine, and what tells the kind (patterns)."""

    kind: Text
    seconds_per_epoch: Range
    accelerator: re.Pattern[str]
    accelerator_name: re.Pattern[str] = ANY
    cpu_model: re.Pattern[str] = ANY
    platform_kind: re.Pattern[str] = ANY
    threads: int | None = None
    least_threads: int = 0

    def fits(self, row: Row) -> bool:
        """Whether a row was made by such a machine."""
        machine = row.key.machine
        return (
            re.fullmatch(self.accelerator, machine.accelerator) is not None
            and re.search(self.accelerator_name, machine.accelerator_name or "") is not None
            and re.search(self.cpu_model, machine.cpu_model or "") is not None
            and re.match(self.platform_kind, row.newest.platform.kind) is not None
            and self.threads in (None, machine.threads)
            and machine.threads >= self.least_threads
        )


class Published(_Part):
    """The file `published.yaml`."""

    as_of: Date = ""
    entries: tuple[Entry, ...] = ()
    far: Positive = 1.0
    ranges: tuple[KindOfMachine, ...] = ()

    def notes(self, row: Row) -> Iterator[str]:
        """What to say of a standard stock row that is far from what is published of its kind."""
        key = row.key
        if (key.category, key.division, key.precision) != ("standard", "stock", "float32"):
            return
        kind = next((entry for entry in self.ranges if entry.fits(row)), None)
        if kind is None:
            return
        least, most = kind.seconds_per_epoch
        epoch_s = sorted(row.train_s.points)[row.n // 2] / key.epochs
        if not least / self.far <= epoch_s <= most * self.far:
            yield (
                f"{figure(epoch_s)} s an epoch is far outside of what is published of {kind.kind}"
                f" ({least:g} to {most:g} s)"
            )


NOTHING_PUBLISHED = Published()


def find_published(paths: Sequence[str | Path]) -> Published:
    """What lies as `published.yaml` in the first of the folders that has one.

    Raises:
        UserError: the file is not as it should be.
    """
    import yaml

    files = (Path(folder, FILE_NAME) for folder in paths)
    path = next(filter(os.path.isfile, files), None)
    if path is None:
        return NOTHING_PUBLISHED
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
        if held is None:
            return NOTHING_PUBLISHED
        if not isinstance(held, dict):
            raise ValueError(f"it holds no keys; wanted are {', '.join(Published.model_fields)}")
        return Published.model_validate(held)
    except ValidationError as exc:
        first = exc.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    # YAML makes values of dates and numbers, which raise what Python raises
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as exc:
        why = f"cannot be read ({exc})"
    raise UserError(f"{printable(str(path))}: {why}")
