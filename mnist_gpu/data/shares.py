"""Each device's share of a batch: the union over the devices is the protocol's batch.

Every batch, the last and smaller one included, is cut into equal runs of images, so that the mean
of the devices' mean gradients is the gradient of the whole batch.
"""

import numpy as np
import numpy.typing as npt


def is_even(world: int, batch_size: int, n: int) -> bool:
    """Whether `world` devices can share every batch of `batch_size` out of `n` images evenly."""
    return batch_size % world == 0 and (n % batch_size) % world == 0


def share(
    order: npt.NDArray[np.int64], batch_size: int, rank: int, world: int
) -> npt.NDArray[np.int64]:
    """The images of one device, batch after batch: (n / world,) of the epoch's order (n,).

    Args:
        order: of the whole epoch.
        batch_size: global.
        rank: which device, from 0.
        world: how many there are.
    """
    whole = len(order) - len(order) % batch_size
    parts = (
        order[:whole].reshape(-1, world, batch_size // world),
        order[whole:].reshape(world, -1),
    )
    return np.concatenate([parts[0][:, rank].ravel(), parts[1][rank]])
