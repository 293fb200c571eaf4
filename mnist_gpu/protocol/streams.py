"""The protocol's random streams: raw bits of NumPy's Philox, which NumPy keeps stable for ever.

`Generator` methods (`permutation`, `uniform`) may change between NumPy releases (NEP 19); the raw
output of a bit generator may not. So everything drawn here is worked out from raw bits.
"""

import numpy as np
import numpy.typing as npt

from mnist_gpu.errors import UserError

STREAMS = {"weights": 1, "order": 2, "dropout": 3, "synthetic": 4}
# an epoch's number has 17 bits, a device's 12
RANK_SHIFT = 20
MOST_SEEDS = 2**32


def raw_bits(stream: str, seed: int, index: int, count: int) -> npt.NDArray[np.uint64]:
    """Raw 64-bit words of one of `STREAMS`: (count,) uint64. The seed is below 2**32, the index an
    epoch or the number of a parameter.

    Raises:
        UserError: the seed is not.
    """
    if not 0 <= seed < MOST_SEEDS:
        raise UserError(f"seed={seed}: a whole number from 0 to {MOST_SEEDS - 1}")
    # Philox is keyed, not seeded: no two (stream, seed, index) share any of their numbers
    key = np.array([seed, (STREAMS[stream] << 32) | index], dtype=np.uint64)
    return np.random.Philox(key=key).random_raw(count)


def epoch_order(seed: int, epoch: int, n: int) -> npt.NDArray[np.int64]:
    """The permutation of `range(n)` for one epoch (from 1): (n,) int64.

    Sorting random keys gives every permutation the same probability, up to ties among 64-bit keys,
    which a stable sort settles the same way everywhere.
    """
    return np.argsort(raw_bits("order", seed, epoch, n), kind="stable")


def dropout_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """The 63-bit seed that starts a framework's own dropout stream for one epoch (from 1).

    Devices that train together (`rank` from 0) each have a stream of their own.
    """
    return int(raw_bits("dropout", seed, (rank << RANK_SHIFT) | epoch, 1)[0] >> np.uint64(1))


def uniform(stream: str, seed: int, index: int, count: int) -> npt.NDArray[np.float64]:
    """Numbers uniform in [0, 1), multiples of 2**-53: (count,) float64."""
    # the upper 53 of 64 bits: all that a double holds exactly
    return (raw_bits(stream, seed, index, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
