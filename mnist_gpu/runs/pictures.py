"""Small pictures for TensorBoard: misclassified digits and the confusion matrix."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

CLASSES = 10
CELL = 44
TILE = 28 * 3
CAPTION = 18
COLUMNS = 8
PAPER, INK, RIGHT, WRONG = (255, 255, 255), (20, 20, 20), (33, 102, 172), (178, 24, 43)


def confusion(labels: npt.NDArray[np.uint8], predicted: npt.NDArray[np.integer]) -> Image.Image:
    """Draw how often each digit (row) was taken for each digit (column).

    Args:
        labels: (n,) the truth, 0 to 9.
        predicted: (n,) what the network says, 0 to 9.
    """
    counts = np.zeros((CLASSES, CLASSES), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    most_right = max(1, counts.max())
    # the mistakes are few: they have a scale of their own
    most_wrong = max(1, (counts - np.diag(np.diag(counts))).max())
    side = CELL * (CLASSES + 1)
    picture = Image.new("RGB", (side, side), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((4, CELL // 2 - 8), "is \\ as", fill=INK, font=ImageFont.load_default(11))
    for digit in range(CLASSES):
        _centred(draw, digit + 1, 0, digit, INK)
        _centred(draw, 0, digit + 1, digit, INK)
    for (row, column), count in np.ndenumerate(counts):
        hue, most = (RIGHT, most_right) if row == column else (WRONG, most_wrong)
        share = count / most
        tint = tuple(round(255 + (channel - 255) * share * 0.85) for channel in hue)
        left, top = (column + 1) * CELL, (row + 1) * CELL
        draw.rectangle((left + 1, top + 1, left + CELL - 1, top + CELL - 1), fill=tint)
        if count:
            _centred(draw, column + 1, row + 1, count, PAPER if share > 0.6 else INK)
    return picture


def mistakes(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    predicted: npt.NDArray[np.integer],
) -> Image.Image:
    """Draw digits with "is 4, as 9" under each.

    Args:
        images: (n, 28, 28) uint8.
        labels: (n,) the truth.
        predicted: (n,) what the network says.
    """
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    picture = Image.new("RGB", (columns * (TILE + 4), rows * (TILE + CAPTION + 4)), PAPER)
    draw = ImageDraw.Draw(picture)
    for number, image in enumerate(images):
        left, top = (number % columns) * (TILE + 4), (number // columns) * (TILE + CAPTION + 4)
        tile = Image.fromarray(255 - image).resize((TILE, TILE), Image.Resampling.NEAREST)
        picture.paste(tile, (left, top))
        caption = f"is {labels[number]}, as {predicted[number]}"
        font = ImageFont.load_default(13)
        draw.text((left + 4, top + TILE + 1), caption, fill=WRONG, font=font)
    return picture


def _centred(
    draw: ImageDraw.ImageDraw, column: int, row: int, number: int, fill: tuple[int, int, int]
) -> None:
    centre = (column * CELL + CELL // 2, row * CELL + CELL // 2)
    draw.text(centre, str(number), fill=fill, font=ImageFont.load_default(13), anchor="mm")
