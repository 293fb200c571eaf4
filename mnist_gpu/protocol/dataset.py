"""The data set every engine trains on, as arrays in memory."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MEAN = 0.1307
STD = 0.3081


@dataclass(frozen=True)
class Dataset:
    """Images of 28x28 grey pixels and their labels.

    Attributes:
        name: `mnist`, `synthetic` or `custom`.
        sha256: digest of the four raw arrays (see `digest`), hexadecimal.
        train_images: (n, 28, 28) uint8.
        train_labels: (n,) uint8, 0 to 9.
        test_images: (m, 28, 28) uint8.
        test_labels: (m,) uint8, 0 to 9.
    """

    name: str
    sha256: str
    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.uint8]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.uint8]


def normalise(images: npt.NDArray[np.uint8], dtype: npt.DTypeLike = np.float32) -> npt.NDArray:
    """Apply the protocol's preprocessing, `(x / 255 - 0.1307) / 0.3081`, in `dtype`.

    A table of the 256 possible values, worked out in float64, makes every framework train on the
    same bits. Returns an array of the shape of `images`.
    """
    table = ((np.arange(256, dtype=np.float64) / 255.0 - MEAN) / STD).astype(dtype)
    return table[images]
