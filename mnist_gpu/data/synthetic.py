"""Digits that the project draws itself: MNIST's sizes and types, so the same speed, without a
network.

Each digit is a bitmap of five by seven cells, smoothed. Every sample scales, shears and shifts it
and has its own pen width, darkness and noise. Everything is worked out in integers, so that the
set is the same on every machine.
"""

import numpy as np
import numpy.typing as npt

from mnist_gpu.data import idx
from mnist_gpu.paths import packaged
from mnist_gpu.protocol.dataset import Dataset
from mnist_gpu.protocol.streams import raw_bits

TRAIN, TEST = 60_000, 10_000
SIDE = 28
CHUNK = 500
DRAWS = 8
CELL = 8
# so wide that no pixel of a sample falls outside, however it is scaled and shifted
MAP_SIDE = 192


def draw(seed: int = 0, train: int = TRAIN, test: int = TEST) -> Dataset:
    """Draw `train` + `test` digits from `seed`: about a second for MNIST's 70,000."""
    total = train + test
    labels = (raw_bits("synthetic", seed, 0, total) % np.uint64(10)).astype(np.uint8)
    maps = _maps()
    images = np.concatenate(
        [
            _chunk(maps, seed, start, labels[start : start + CHUNK])
            for start in range(0, total, CHUNK)
        ]
    )
    arrays = [images[:train], labels[:train], images[train:], labels[train:]]
    return Dataset("synthetic", idx.digest(arrays), *arrays)


def _maps() -> npt.NDArray[np.int32]:
    """The ten digits, large and smooth: (10, 192, 192) int32 from 0 to 255."""
    digits = packaged("data/digits")
    cells = np.array([[list(row) for row in rows.split()] for rows in digits]).astype(np.int32)
    maps = np.zeros((10, MAP_SIDE, MAP_SIDE), np.int32)
    top, left = (MAP_SIDE - 7 * CELL) // 2, (MAP_SIDE - 5 * CELL) // 2
    maps[:, top : top + 7 * CELL, left : left + 5 * CELL] = cells.repeat(CELL, 1).repeat(CELL, 2)
    # two running means over a cell: strokes with soft edges, in whole numbers
    for axis in (1, 2):
        for _ in range(2):
            shifted = [np.roll(maps, shift, axis) for shift in range(-CELL // 2, CELL // 2)]
            maps = np.sum(shifted, axis=0, dtype=np.int32)
    return maps * 255 // CELL**4


def _chunk(
    maps: npt.NDArray[np.int32], seed: int, start: int, labels: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    n = len(labels)
    words = raw_bits("synthetic", seed, 1 + start, n * (DRAWS + SIDE * SIDE // 8))
    draws = (words[: n * DRAWS] >> np.uint64(48)).astype(np.int32).reshape(DRAWS, n, 1, 1)
    noise = words[n * DRAWS :].astype("<u8").view(np.uint8).reshape(n, SIDE, SIDE)

    def spread(number: int, least: int, most: int) -> npt.NDArray[np.int32]:
        return least + (draws[number] * (most - least) >> 16)

    # where on the digit's map each pixel lies, in 256ths of a map's unit
    across = np.arange(1 - SIDE, SIDE, 2, dtype=np.int32)
    down = across[:, None]
    middle = MAP_SIDE << 7
    x = spread(0, 300, 480) * across + (spread(1, -220, 220) * down + middle)
    x += spread(2, -3400, 3400)
    y = spread(3, 300, 480) * down + (spread(4, -160, 160) * across + middle)
    y += spread(5, -3400, 3400)
    places = (labels[:, None, None].astype(np.int32) * MAP_SIDE + (y >> 8)) * MAP_SIDE + (x >> 8)
    # what is subtracted sets how wide the pen is: a smoothed map falls off slowly
    ink = np.clip((maps.ravel()[places] - spread(6, 40, 130)) * 4, 0, 255)
    grey = (ink * spread(7, 60, 256) >> 8) + (noise >> 2).astype(np.int32) - 32
    return np.clip(grey, 0, 255).astype(np.uint8)
