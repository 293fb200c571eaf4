"""Each device's share of a batch: the union over the devices is the protocol's batch.

Every batch, the last and smaller one included, is cut into equal runs of images, so that the mean
of the devices' mean gradients is the gradient of the whole batch.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mnist_gpu.errors import UserError

if TYPE_CHECKING:
    from mnist_gpu.config.settings import Settings

MOST_CHOICES = 12


def is_even(world: int, batch_size: int, n: int) -> bool:
    """Whether `world` devices can share every batch of `batch_size` out of `n` images evenly."""
    return batch_size % world == 0 and (n % batch_size) % world == 0


def refuse_uneven(settings: "Settings", n: int) -> None:
    """Refuse a number of devices that cannot share the batches of an epoch of `n` images.

    Raises:
        UserError: it names the choices there are.
    """
    if is_even(settings.world, settings.global_batch_size, n):
        return
    weak = settings.scaling == "weak"
    possible = [
        count
        for count in range(1, 4097)
        if is_even(count, settings.batch_size * (count if weak else 1), n)
    ][:MOST_CHOICES]
    asked = f"devices={settings.devices}"
    if settings.num_nodes > 1:
        asked += f" num_nodes={settings.num_nodes}"
    last = n % settings.global_batch_size
    batches = f"a batch of {settings.global_batch_size}"
    batches += f" and the last one of {last}" if last else ""
    raise UserError(
        f"{asked}: {settings.world} devices cannot share {batches} evenly;"
        f" choose {', '.join(map(str, possible))} in all"
    )


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
