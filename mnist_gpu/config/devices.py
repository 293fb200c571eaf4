"""How many devices can share the batches of a run."""

from typing import TYPE_CHECKING

from mnist_gpu.data.shared import is_even
from mnist_gpu.errors import UserError

if TYPE_CHECKING:
    from mnist_gpu.config.settings import Settings

MOST_CHOICES = 12


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
