"""What the standard run is, and in which ways a configuration deviates from it."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from mnist_gpu import __version__
from mnist_gpu.config.schema import Settings
from mnist_gpu.paths import conf_dir

STANDARD: dict[str, Any] = {
    "epochs": 50,
    "batch_size": 64,
    "learning_rate": 0.001,
    "devices": 1,
}
# how a run is spread, or several are joined: one seed, on one device
ALONE: dict[str, Any] = {"num_nodes": 1, "scaling": "strong", "ensemble": 1}
ALLOWED_PRECISIONS = ("float32", "tf32", "bf16-mixed", "16-mixed")


def deviations(settings: Settings, dataset: str) -> list[str]:
    """Every way in which the run is not the standard one; empty for a standard run.

    Args:
        settings: the checked configuration.
        dataset: the name of the data that is really used.
    """
    # of the whole run: all devices, and the images of one optimizer step on all of them
    whole = {"devices": settings.world, "batch_size": settings.global_batch_size}
    found = [
        f"{key} {is_now} (standard: {value})"
        for key, value in (STANDARD | ALONE).items()
        if (is_now := whole.get(key, getattr(settings, key))) != value
    ]
    if settings.model["name"] != "cnn" or settings.model["layers"] != _standard_layers():
        found.append(f"model {settings.model['name']} (standard: cnn)")
    if not settings.model["dropout"]:
        found.append("model.dropout false (standard: true)")
    if settings.precision not in ALLOWED_PRECISIONS:
        found.append(f"precision {settings.precision} (allowed: {', '.join(ALLOWED_PRECISIONS)})")
    if dataset != "mnist":
        found.append(f"dataset {dataset} (standard: mnist)")
    return found


def describe(settings: Settings) -> str:
    """Say before the run whether it follows the protocol."""
    known = "mnist" if settings.data["source"] == "auto" else settings.data["source"]
    found = deviations(settings, known)
    return f"not the standard run: {'; '.join(found)}" if found else "the standard protocol"


def fingerprint(settings: Settings, dataset_sha256: str) -> str:
    """A digest of everything that changes what is trained or how: same digest, same run."""
    kept = asdict(settings)
    for key in ("data", "resume", "force", "checkpoint", "logger", "choices", "profiler"):
        kept.pop(key)
    kept["platform"] = settings.platform["name"]
    kept["dataset_sha256"] = dataset_sha256
    kept["version"] = __version__
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _standard_layers() -> list[dict[str, Any]]:
    text = (Path(conf_dir()) / "model" / "cnn.yaml").read_text()
    layers: list[dict[str, Any]] = yaml.safe_load(text)["layers"]
    return layers
