"""The data set every engine trains on, as arrays in memory."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MEAN = 0.1307
STD = 0.3081


@dataclass(frozen=True)
class Dataset:
    """Images of 28x28 grey pixels and their labels."""

    name: str  # mnist, synthetic or custom
    sha256: str  # digest of the four raw arrays (`data.idx.digest`), hexadecimal
    train_images: npt.NDArray[np.uint8]  # (n, 28, 28)
    train_labels: npt.NDArray[np.uint8]  # (n,), 0 to 9
    test_images: npt.NDArray[np.uint8]  # (m, 28, 28)
    test_labels: npt.NDArray[np.uint8]  # (m,), 0 to 9


def normalise(images: npt.NDArray[np.uint8], dtype: npt.DTypeLike = np.float32) -> npt.NDArray:
    """Apply the protocol's preprocessing, `(x / 255 - 0.1307) / 0.3081`, in `dtype`.

    A table of the 256 possible values, worked out in float64, makes every framework train on the
    same bits. Returns an array of the shape of `images`.
    """
    table = ((np.arange(256, dtype=np.float64) / 255.0 - MEAN) / STD).astype(dtype)
    return table[images]
