"""The configuration as checked values: a class for each group of `conf/`, a description for each
field.

`--help`, docs/configuration.md and the line that refuses a value are all made from the types and
descriptions here. Defaults stand in `conf/` alone.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from mnist_gpu.config.errors import no_such_key
from mnist_gpu.config.platform import Group, PlatformSettings
from mnist_gpu.errors import UserError
from mnist_gpu.fields import Name
from mnist_gpu.paths import choices, shipped
from mnist_gpu.protocol.network import Network
from mnist_gpu.records.schema import Precision

MAX_EPOCHS = 100_000
MAX_BATCH_SIZE = 60_000
MAX_DEVICES = 4096
MAX_PARAMETERS = 500_000_000
MAX_CHOICES = 12
# of MNIST and of the drawn digits; a custom set is looked at again when it is there
USUAL_TRAINING_IMAGES = 60_000
OURS = ("tensorboard", "csv", "none")


def _names_class(node: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(node.get("_target_"), str):
        raise ValueError("needs _target_, the class to make, and beside it the class's arguments")
    return node


Instance = Annotated[dict[str, Any], AfterValidator(_names_class)]
"""A node that `hydra.utils.instantiate` makes an object of: `_target_` and its arguments."""


class EngineSettings(Group):
    """Who trains. An engine's own keys and switches are those of its file in `conf/engine/`."""

    model_config = ConfigDict(extra="allow")

    name: Name = Field(description="the framework's engine")
    switches: dict[Name, bool | int | str | None] = Field(
        {}, description="documented public options of the framework; null: off"
    )

    @model_validator(mode="after")
    def _known(self) -> "EngineSettings":
        if self.name not in choices("engine"):
            raise UserError(f"engine.name={self.name}: choose from {', '.join(choices('engine'))}")
        own = shipped(f"engine/{self.name}")
        # they are not declared above, as each engine has its own
        for key in self.options:
            if key not in own:
                raise UserError(no_such_key(f"engine.{key}", own))
        for key in self.switches:
            # pydantic lets any through here: what there is depends on the engine
            if key not in own["switches"]:
                raise UserError(no_such_key(f"engine.switches.{key}", own["switches"]))
        return self

    @property
    def uses(self) -> set[str]:
        """The engine and, with Keras, its backend: the words of `measure/influences.yaml`."""
        return {self.name, str(self.options.get("backend", self.name))}

    @property
    def options(self) -> dict[str, Any]:
        """The engine's own keys, such as Keras' `backend`."""
        return dict(self.model_extra or {})


class DivisionSettings(Group):
    """What the engine may switch on by itself; what ran decides what the record says."""

    name: Literal["stock", "tuned", "open"] = Field(
        description="stock: the framework as it comes; tuned: with public switches that help;"
        " open: with kernels of this project"
    )


class ModelSettings(Group):
    """The network, as data."""

    name: Name = Field(description="its name in records")
    dropout: bool = Field(description="false turns every dropout rate to 0")
    layers: list[dict[str, Any]] = Field(description="layer by layer: docs/protocol.md")

    @property
    def network(self) -> Network:
        """The layers, checked and counted; UserError names the one that is not possible."""
        return Network.from_config(self.name, self.layers, self.dropout)

    @model_validator(mode="after")
    def _possible(self) -> "ModelSettings":
        count = self.network.n_parameters
        if count > MAX_PARAMETERS:
            raise UserError(f"model.layers: {count:,} parameters, at most {MAX_PARAMETERS:,}")
        return self


class DataSettings(Group):
    """Which images."""

    source: Literal["mnist", "synthetic", "auto"] = Field(
        description="the published set, digits drawn by this project, or the first where it is had"
    )
    dir: str | None = Field(description="folder with the four files of MNIST")
    download: bool = Field(description="whether to fetch them where they are nowhere")
    cache_dir: str | None = Field(description="where what was fetched is kept")
    custom: bool = Field(description="accept other files in MNIST's form, as data set `custom`")


class LoggerSettings(Group):
    """Where the curves go: one of ours for every engine, or any of Lightning's by `_target_`."""

    name: Name = Field(description="tensorboard, csv, none, or the class of `node`")
    node: Instance | None = Field(None, description="the logger that Lightning is given")

    @model_validator(mode="before")
    @classmethod
    def _by_target(cls, given: Any) -> Any:
        if isinstance(given, dict) and "_target_" in given:
            return {"name": str(given["_target_"]).rpartition(".")[2], "node": given}
        return given

    @model_validator(mode="after")
    def _known(self) -> "LoggerSettings":
        if self.node is None and self.name not in OURS:
            raise UserError(f"logger.name={self.name}: choose from {', '.join(OURS)}")
        return self


class Settings(Group):
    """One run, checked."""

    platform: PlatformSettings
    engine: EngineSettings
    division: DivisionSettings
    model: ModelSettings
    data: DataSettings
    logger: LoggerSettings
    trainer: Instance = Field(description="Lightning's Trainer and its arguments")
    callbacks: dict[str, Instance] = Field(description="Lightning callbacks, by name")
    launcher: Literal["local", "slurm", "slurm_local"] = Field(description="who starts the jobs")
    seed: int = Field(ge=0, le=2**32 - 1, description="of weights, batch order and dropout")
    epochs: int = Field(ge=1, le=MAX_EPOCHS, description="passes over the data")
    batch_size: int = Field(ge=1, le=MAX_BATCH_SIZE, description="images a step, over all devices")
    learning_rate: float = Field(gt=0, le=10, allow_inf_nan=False, description="Adam's step size")
    precision: Precision = Field(description="of the arithmetic; float64 serves proofs")
    devices: int = Field(
        ge=1, le=MAX_DEVICES, description="accelerators on each machine; they share every batch"
    )
    num_nodes: int = Field(ge=1, le=MAX_DEVICES, description="machines")
    scaling: Literal["strong", "weak"] = Field(
        description="strong: the global batch stays; weak: each device has a whole batch"
    )
    checkpoint_every: int = Field(
        ge=0, le=MAX_EPOCHS, description="epochs between checkpoints; 0: only the final weights"
    )
    resume: str | None = Field(
        description="a run's folder, or auto: the newest unfinished run of this configuration"
    )
    profile_steps: int = Field(
        ge=0, le=1000, description="steps to trace before the run, off the clock, into its profile/"
    )
    estimate: bool = Field(
        description="end with an estimate of the standard run, worked out from this one's steps"
    )
    rerun: bool = Field(description="redo a sweep's job although its valid record exists")

    @property
    def world(self) -> int:
        """How many devices train together, on all machines."""
        return self.devices * self.num_nodes

    @property
    def global_batch_size(self) -> int:
        """Images in an optimizer step; with `scaling=weak` every device has a batch of its own."""
        return self._step_images(self.world)

    def _step_images(self, world: int) -> int:
        return self.batch_size * (world if self.scaling == "weak" else 1)

    def refuse_uneven(self, n: int) -> None:
        """Refuse a number of devices that cannot share the batches of an epoch of `n` images, by a
        UserError that names those that can."""
        size = self.global_batch_size
        if self._shares_evenly(self.world, n):
            return
        counts = range(1, MAX_DEVICES + 1)
        possible = [str(count) for count in counts if self._shares_evenly(count, n)]
        asked = f"devices={self.devices}"
        asked += f" num_nodes={self.num_nodes}" if self.num_nodes > 1 else ""
        last = f" and the last one of {n % size}" if n % size else ""
        raise UserError(
            f"{asked}: {self.world} devices cannot share a batch of {size}{last} evenly;"
            f" choose {', '.join(possible[:MAX_CHOICES])} in all"
        )

    def _shares_evenly(self, world: int, n: int) -> bool:
        size = self._step_images(world)
        # the last, smaller batch included: then the mean of the gradients is that of the batch
        return size % world == 0 and (n % size) % world == 0

    @model_validator(mode="after")
    def _possible_together(self) -> "Settings":
        if self.engine.name != "lightning":
            self._refuse_for_other_engines()
        if self.world > 1:
            self._refuse_devices()
        if self.global_batch_size > MAX_BATCH_SIZE:
            raise UserError(
                f"scaling=weak: {self.world} batches of {self.batch_size} are more than"
                f" {MAX_BATCH_SIZE} images"
            )
        return self

    def _refuse_for_other_engines(self) -> None:
        asked = {
            f"callbacks={','.join(self.callbacks)}": self.callbacks,
            f"logger={self.logger.name}": self.logger.node,
            "trainer": self.trainer != shipped("trainer/default"),
        }
        for what, is_set in asked.items():
            if is_set:
                raise UserError(
                    f"{what}: goes to Lightning's Trainer, which engine={self.engine.name} does not"
                    " use; choose engine=lightning"
                )

    def _refuse_devices(self) -> None:
        asked = f"devices={self.devices}"
        if self.engine.name != "lightning":
            raise UserError(
                f"{asked}: engine={self.engine.name} trains on one device; choose engine=lightning"
            )
        if self.platform.accelerator == "mps":
            raise UserError(f"{asked}: a Mac has one Metal GPU; use devices=1")
        # a trace of one process would show the others as waiting
        if self.profile_steps:
            raise UserError(f"profile_steps={self.profile_steps}: traces one device; use devices=1")
        self.refuse_uneven(USUAL_TRAINING_IMAGES)
