"""What a minute of training says of the standard run. Never a record: no table mixes the two.

`estimate.json` holds one, and so does one line of text that survives being pasted anywhere.
"""

import base64
import binascii
import re
import zlib
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from mnist_gpu.errors import UserError
from mnist_gpu.fields import Count, Name, Part, Seconds, Text, UtcInstant
from mnist_gpu.records.schema import Division, Limits, Precision, Price

PREFIX = "mnist-gpu-estimate:1:"
LINE = re.compile(re.escape(PREFIX) + r"([A-Za-z0-9_-]{1,8000})(?![A-Za-z0-9_-])")
MOST_BYTES = 64 * 1024


class Span(Part):
    """Seconds with a 90 % interval."""

    value_s: Seconds
    low_s: Seconds
    high_s: Seconds


class Estimate(Part):
    """One estimate: of what, on what, by how much training."""

    estimate_version: Literal[1] = 1
    created_at: UtcInstant
    program_version: Text
    platform: Name
    label: Text = Field(description="the platform's name for people")
    kind: Literal["local", "cloud", "hpc"]
    hardware: Text = Field(description="accelerator, or processor where there is none")
    engine: Name
    engine_version: Annotated[int, Field(ge=1)]
    framework: Text
    framework_version: Text
    division: Division
    switches: dict[Name, bool | int | Text]
    model: Name
    precision: Precision
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    dataset: Name
    steps: Count = Field(description="optimizer steps that were timed")
    pieces: Count = Field(description="in how many pieces")
    measured_s: Seconds = Field(description="seconds of training that were timed")
    train_s: Span
    total_s: Span
    price: Price
    limits: Limits
    warnings: list[Text] = Field(description="what casts doubt on the timing")


def line(estimate: Estimate) -> str:
    """The estimate as one line of letters, digits, `_` and `-`."""
    packed = zlib.compress(estimate.model_dump_json().encode(), 9)
    return PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_lines(text: str) -> list[Estimate]:
    """Every estimate that stands in `text` as one line of its own making.

    Raises:
        UserError: a line is damaged.
    """
    return [_unpack(found.group(1)) for found in LINE.finditer(text)]


def _unpack(packed: str) -> Estimate:
    where, unpacker = f"{PREFIX}{packed[:12]}…", zlib.decompressobj()
    try:
        raw = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        content = unpacker.decompress(raw, MOST_BYTES)
    except (binascii.Error, zlib.error):
        content = b""
    if not content or not unpacker.eof:
        raise UserError(f"{where}: the line is damaged; copy the whole of it once more")
    return read_json(content, where)


def read_json(content: bytes, where: str) -> Estimate:
    """The estimate in an `estimate.json`.

    Raises:
        UserError: it is none.
    """
    try:
        return Estimate.model_validate_json(content)
    except ValidationError as exc:
        first = exc.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{where}: not an estimate: {field}: {first['msg']}") from None
