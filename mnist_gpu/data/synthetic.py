"""Digits that the project draws itself: MNIST's sizes and types, so the same speed, without a
network.

Each digit is a few strokes (polylines in a unit square). Every sample moves their corners, tilts,
stretches and shifts the whole, and gets its own pen width, a stray stroke and noise. Only the four
operations, square roots and comparisons in float32 are used, which IEEE 754 fixes to the bit, so
that the set is the same on every machine.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mnist_gpu.data import idx
from mnist_gpu.protocol.dataset import Dataset
from mnist_gpu.protocol.streams import raw_bits

TRAIN, TEST = 60_000, 10_000
SIDE = 28
SEED = 0
CHUNK = 1000
VERSION = 1
SHA256 = "063a106c0c3b909617aef26060c7345dabef910c4f86e03b01a8ef1cab5e5d56"

# strokes of each digit: corners (x, y) in a unit square, y downwards
STROKES: dict[int, list[list[tuple[float, float]]]] = {
    0: [[(0.5, 0.0), (0.85, 0.2), (0.85, 0.8), (0.5, 1.0), (0.15, 0.8), (0.15, 0.2), (0.5, 0.0)]],
    1: [[(0.3, 0.2), (0.55, 0.0), (0.55, 1.0)]],
    2: [[(0.15, 0.25), (0.45, 0.0), (0.8, 0.2), (0.7, 0.5), (0.15, 1.0), (0.85, 1.0)]],
    3: [[(0.2, 0.05), (0.8, 0.1), (0.45, 0.45), (0.85, 0.7), (0.6, 1.0), (0.15, 0.9)]],
    4: [[(0.7, 1.0), (0.7, 0.0), (0.1, 0.65), (0.9, 0.65)]],
    5: [[(0.8, 0.0), (0.25, 0.0), (0.2, 0.45), (0.7, 0.45), (0.8, 0.8), (0.45, 1.0), (0.15, 0.9)]],
    6: [[(0.7, 0.0), (0.25, 0.45), (0.2, 0.85), (0.55, 1.0), (0.8, 0.75), (0.5, 0.5), (0.22, 0.7)]],
    7: [[(0.15, 0.0), (0.85, 0.0), (0.4, 1.0)]],
    8: [
        [(0.5, 0.47), (0.2, 0.22), (0.5, 0.0), (0.8, 0.22), (0.5, 0.47)],
        [(0.5, 0.47), (0.85, 0.75), (0.5, 1.0), (0.15, 0.75), (0.5, 0.47)],
    ],
    9: [[(0.8, 0.3), (0.5, 0.5), (0.2, 0.3), (0.45, 0.0), (0.8, 0.15), (0.8, 0.55), (0.6, 1.0)]],
}
SEGMENTS = max(sum(len(stroke) - 1 for stroke in strokes) for strokes in STROKES.values())
DRAWS = 4 * SEGMENTS + 16


def load(cache_dir: Path, announce: Callable[[str], None] = print) -> Dataset:
    """The drawn set, from the cache or drawn now (some seconds) and cached.

    Two runs may start at once: each writes its own file and renames it into place. A cache that
    cannot be read, or whose digest is wrong, is drawn again; one that cannot be written is no
    error.
    """
    path = cache_dir / f"synthetic-{VERSION}.npz"
    cached = _cached(path)
    if cached is not None:
        return cached
    announce("drawing 70,000 digits")
    dataset = draw()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial.npz")
        parts = {f"part{n}": array for n, array in enumerate(_arrays(dataset))}
        np.savez(partial, **parts)  # type: ignore[arg-type]
        partial.replace(path)
    except OSError as fault:
        announce(f"the drawn digits cannot be kept in {path.parent}: {fault.strerror}")
    return dataset


def draw(seed: int = SEED, train: int = TRAIN, test: int = TEST) -> Dataset:
    """Draw `train` + `test` digits from `seed`."""
    total = train + test
    labels = (raw_bits("synthetic", seed, 0, total) % np.uint64(10)).astype(np.uint8)
    starts = range(0, total, CHUNK)
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        images = np.concatenate(
            list(pool.map(lambda start: _chunk(seed, start, labels[start : start + CHUNK]), starts))
        )
    arrays = [images[:train], labels[:train], images[train:], labels[train:]]
    return Dataset("synthetic", idx.digest(arrays), *arrays)


def contact_sheet(dataset: Dataset, path: Path, rows: int = 10, columns: int = 24) -> None:
    """Save a picture of the first digits of each class, a row a class."""
    from PIL import Image

    sheet = np.zeros((rows * SIDE, columns * SIDE), np.uint8)
    for digit in range(rows):
        shown = np.flatnonzero(dataset.train_labels == digit)[:columns]
        for column, number in enumerate(shown):
            top, left = digit * SIDE, column * SIDE
            sheet[top : top + SIDE, left : left + SIDE] = dataset.train_images[number]
    Image.fromarray(255 - sheet).save(path, optimize=True)


def _arrays(dataset: Dataset) -> list[npt.NDArray[np.uint8]]:
    return [
        dataset.train_images,
        dataset.train_labels,
        dataset.test_images,
        dataset.test_labels,
    ]


def _cached(path: Path) -> Dataset | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = [file[f"part{n}"] for n in range(4)]
        digest = idx.digest(arrays)
    except Exception:  # whatever a damaged archive makes its readers raise
        return None
    return Dataset("synthetic", digest, *arrays) if digest == SHA256 else None


def _chunk(seed: int, start: int, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    n = len(labels)
    bits = raw_bits("synthetic", seed, 1 + start, n * DRAWS)
    # 24 bits are exact in float32
    random = (bits >> np.uint64(40)).astype(np.float32).reshape(n, DRAWS) * np.float32(2.0**-24)
    segments, used = _segments(labels, random)
    nearest = _nearest(segments, used)
    width = 0.028 + 0.035 * random[:, 6]
    ink = np.clip((width[:, None, None] - nearest) * np.float32(18.0) + 0.5, 0.0, 1.0)
    noise = _noise(seed, start, n)
    grey = ink * (0.55 + 0.45 * random[:, 7])[:, None, None] * 255.0 + noise
    return np.clip(grey, 0.0, 255.0).astype(np.uint8)


def _segments(
    labels: npt.NDArray[np.uint8], random: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Corners of every sample's segments, (n, segments + 1, 4) as x0 y0 x1 y1, and which count."""
    n = len(labels)
    corners = np.zeros((10, SEGMENTS, 4), np.float32)
    counts = np.zeros(10, np.int64)
    for digit, strokes in STROKES.items():
        lines = [a + b for stroke in strokes for a, b in pairwise(stroke)]
        corners[digit, : len(lines)] = lines
        counts[digit] = len(lines)
    segments = corners[labels] - np.float32(0.5)
    segments += (random[:, 16:].reshape(n, SEGMENTS, 4) - 0.5) * np.float32(0.16)
    stray = (random[:, None, 8:12] - 0.5) * np.float32(1.3)
    stray[:, :, 2:] = stray[:, :, :2] + (stray[:, :, 2:] * np.float32(0.35))
    segments = np.concatenate([segments, stray], axis=1)
    used = np.arange(SEGMENTS + 1)[None] < counts[labels][:, None]
    used[:, SEGMENTS] = random[:, 12] < 0.5
    # a rotation by the half-angle formula: no sine, whose last bit differs between machines
    half = (random[:, 0] - 0.5) * np.float32(0.55)
    cosine, sine = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
    shear = (random[:, 1] - 0.5) * np.float32(0.7)
    wide = 0.38 + 0.32 * random[:, 2]
    high = 0.52 + 0.3 * random[:, 3]
    shift = (random[:, 4:6] - 0.5) * np.float32(0.24) + 0.5
    x, y = segments[:, :, 0::2], segments[:, :, 1::2]
    x = (x + y * shear[:, None, None]) * wide[:, None, None]
    y = y * high[:, None, None]
    placed = np.empty_like(segments)
    cosine, sine = cosine[:, None, None], sine[:, None, None]
    placed[:, :, 0::2] = x * cosine - y * sine + shift[:, 0, None, None]
    placed[:, :, 1::2] = x * sine + y * cosine + shift[:, 1, None, None]
    return placed, used


def _nearest(
    segments: npt.NDArray[np.float32], used: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Distance of every pixel to the nearest segment that counts: (n, 28, 28) float32."""
    centres = (np.arange(SIDE, dtype=np.float32) + np.float32(0.5)) / np.float32(SIDE)
    nearest = np.full((len(segments), SIDE, SIDE), 9.0, np.float32)
    for number in range(segments.shape[1]):
        x0, y0, x1, y1 = segments[:, number].T[:, :, None]
        dx, dy = x1 - x0, y1 - y0
        length = np.maximum(dx * dx + dy * dy, np.float32(1e-6))
        from_x, from_y = centres[None] - x0, centres[None] - y0
        along = (from_y * dy / length)[:, :, None] + (from_x * dx / length)[:, None, :]
        share = np.clip(along, 0.0, 1.0)
        square = (from_y * from_y)[:, :, None] + (from_x * from_x)[:, None, :]
        square -= length[:, :, None] * share * (2 * along - share)
        square[~used[:, number]] = 9.0
        np.minimum(nearest, square, out=nearest)
    return np.sqrt(np.maximum(nearest, 0.0))


def _noise(seed: int, start: int, n: int) -> npt.NDArray[np.float32]:
    """The sum of two uniform bytes, centred, on a fifth of its scale: (n, 28, 28) float32."""
    words = raw_bits("synthetic", seed, 1_000_000 + start, n * SIDE * SIDE // 4)
    octets = words.view(np.uint8) if np.little_endian else words.byteswap().view(np.uint8)
    pairs = octets.reshape(n, SIDE, SIDE, 2).astype(np.float32).sum(axis=3)
    return (pairs - np.float32(255.0)) * np.float32(0.22)
