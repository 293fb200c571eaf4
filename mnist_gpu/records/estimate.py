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
# in mail and terminals it may be broken into several, and quoted
FOREIGN = re.compile(r"[^A-Za-z0-9_\s>-]")
MOST_LETTERS = 8000
MOST_BYTES = 64 * 1024
RECORDS_KEY = b'"run_id"'


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


def read_lines(text: str) -> tuple[list[Estimate], list[str]]:
    """Every estimate that stands in `text` as its line, whole or broken into several, and what is
    wrong with each that is damaged."""
    found, faults = [], []
    for part in text.split(PREFIX)[1:]:
        # the prefix alone may be spoken of
        if part[:1].isalnum():
            try:
                found.append(_unpack(part[: 2 * MOST_LETTERS]))
            except UserError as exc:
                faults.append(str(exc))
    return found, faults


def _unpack(text: str) -> Estimate:
    """The estimate that `text` begins with; what is packed says itself where it ends."""
    packed = re.sub(r"[\s>]", "", FOREIGN.split(text, 1)[0])[:MOST_LETTERS]
    where, unpacker = f"{PREFIX}{packed[:12]}…", zlib.decompressobj()
    try:
        # four letters are three bytes; what is left over is no part of it, or the end of its last
        whole = packed if len(packed) % 4 != 1 else packed[:-1]
        raw = base64.urlsafe_b64decode(whole + "=" * (-len(whole) % 4))
        # anybody may have pasted it: it could unpack to any size
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
    # before the schema, whose first complaint would be of some field
    if RECORDS_KEY in content:
        raise UserError(f"{where}: a record, not an estimate: leave --estimates out")
    try:
        return Estimate.model_validate_json(content)
    except ValidationError as exc:
        first = exc.errors()[0]
        said = ".".join(str(part) for part in first["loc"]), first["msg"]
        raise UserError(f"{where}: not an estimate: {': '.join(filter(None, said))}") from None
