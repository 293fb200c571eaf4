"""Values that are each allowed, but not with one another."""

from mnist_gpu.config.schema import MAX_BATCH_SIZE, Settings
from mnist_gpu.data import shares
from mnist_gpu.errors import UserError

# of MNIST and of the drawn digits; a custom set is looked at again when it is there
USUAL_TRAINING_IMAGES = 60_000
SEVERAL_DEVICES = ("lightning",)
SEVERAL_SEEDS = ("lightning", "torch")


def fit_together(settings: Settings) -> None:
    """Refuse what no engine can do, before anything heavy is imported.

    Raises:
        UserError: it names key, value and choices.
    """
    if settings.world > 1:
        _several_devices(settings)
    if settings.ensemble > 1:
        _several_seeds(settings)
    if settings.scaling == "weak" and settings.global_batch_size > MAX_BATCH_SIZE:
        raise UserError(
            f"scaling=weak: {settings.world} batches of {settings.batch_size} are more than"
            f" {MAX_BATCH_SIZE} images"
        )


def _several_devices(settings: Settings) -> None:
    asked = f"devices={settings.devices}"
    engine = settings.engine["name"]
    if engine not in SEVERAL_DEVICES:
        raise UserError(
            f"{asked}: engine={engine} trains on one device;"
            f" choose engine={' or '.join(SEVERAL_DEVICES)}"
        )
    if settings.platform["accelerator"] == "mps":
        raise UserError(f"{asked}: a Mac has one Metal GPU; use devices=1")
    if settings.profiler:
        raise UserError(f"profiler={settings.profiler}: traces one device; use devices=1")
    shares.refuse_uneven(settings, USUAL_TRAINING_IMAGES)


def _several_seeds(settings: Settings) -> None:
    asked = f"ensemble={settings.ensemble}"
    engine = settings.engine["name"]
    if engine not in SEVERAL_SEEDS:
        raise UserError(
            f"{asked}: engine={engine} trains one seed; choose engine={' or '.join(SEVERAL_SEEDS)}"
        )
    if settings.world > 1:
        raise UserError(f"{asked}: on one device; use devices=1")
    if settings.precision == "16-mixed":
        raise UserError(f"{asked}: precision=16-mixed has one loss scale for all; use bf16-mixed")
    if settings.seed + settings.ensemble > 2**32:
        raise UserError(f"{asked}: the seeds from {settings.seed} on would pass 2**32 - 1")
