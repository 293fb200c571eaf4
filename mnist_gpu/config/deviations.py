"""In which ways a configured run is not the standard one, and which run it is."""

import hashlib
import json

from mnist_gpu.config.settings import Settings
from mnist_gpu.paths import shipped
from mnist_gpu.protocol.standard import deviating, shown
from mnist_gpu.records.acceptable import harmless
from mnist_gpu.version import __version__

# what changes neither what is trained nor how: a run goes on although it was changed
NOT_TRAINED = {
    *("data", "logger", "launcher", "resume", "rerun"),
    *("checkpoint_every", "profile_steps", "estimate"),
}


def deviations(settings: Settings, dataset: str) -> list[str]:
    """Every way in which a configured run is not the standard one, by the name of the data that is
    really used; empty for a standard run."""
    model, network = settings.model, settings.model.network
    same = ("epochs", "learning_rate", "num_nodes", "scaling", "precision")
    facts = {
        **{name: getattr(settings, name) for name in same},
        # of the whole run: the images of one optimizer step, and the devices that share them
        "batch_size": settings.global_batch_size,
        "devices": settings.world,
        "dataset": dataset,
        "model": model.name,
        "model.dropout": model.dropout,
        "n_parameters": network.n_parameters,
        "flops_per_sample": network.flops_per_sample,
    }
    # the rules for records ask the same function: what is declared here is what they expect
    found = deviating(facts)
    # two networks may have the same numbers of parameters and operations
    if model.layers != shipped("model/cnn")["layers"]:
        found.setdefault("model", "model cnn with other layers (standard: cnn)")
    return [*found.values(), *configured_classes(settings)]


def describe(settings: Settings) -> str:
    """Say before the run whether it follows the protocol."""
    known = "mnist" if settings.data.source == "auto" else settings.data.source
    found = deviations(settings, known)
    return f"not the standard run: {'; '.join(found)}" if found else "the standard protocol"


def fingerprint(settings: Settings, dataset_sha256: str) -> str:
    """A digest of everything that changes what is trained or how: same digest, same run."""
    kept = settings.model_dump(mode="json", exclude=NOT_TRAINED)
    kept["platform"] = settings.platform.name
    kept["dataset_sha256"] = dataset_sha256
    # another version may train otherwise: its runs are not gone on with
    kept["version"] = __version__
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def configured_classes(settings: Settings) -> list[str]:
    """The Trainer's arguments, callbacks and logger that the standard run does not have."""
    usual = shipped("trainer/default")
    found = [
        f"trainer.{name} {shown(settings.trainer.get(name))} (standard: {shown(usual.get(name))})"
        for name in dict.fromkeys([*usual, *settings.trainer])
        if settings.trainer.get(name) != usual.get(name)
    ]
    if settings.callbacks:
        found.append(f"callbacks {', '.join(settings.callbacks)} (standard: none)")
    if settings.logger.node is not None:
        found.append(f"logger {settings.logger.name} (standard: tensorboard, csv or none)")
    # an argument may be a path, or an object's own words, of which a record holds nothing
    return [harmless(line)[:200] for line in found]
