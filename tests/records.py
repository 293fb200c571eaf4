"""Builds records for tests: consistent and acceptable unless a test makes them lie."""

import copy
import hashlib
import random
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from mnist_gpu.measure import signals
from mnist_gpu.protocol.standard import protocol
from mnist_gpu.records.rules.claims import known_platforms
from mnist_gpu.records.schema import Record
from mnist_gpu.records.store import write_record

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
FRAMEWORKS = {
    "lightning": ("PyTorch Lightning", "torch 2.15.0", ["torch", "lightning"]),
    "torch": ("PyTorch", None, ["torch"]),
    "keras": ("Keras", "tensorflow", ["keras", "tensorflow"]),
    "tensorflow": ("TensorFlow", "tensorflow", ["keras", "tensorflow"]),
    "mlx": ("MLX", "mlx", ["mlx"]),
}
OWN_LINES = {"lightning": ["the Trainer's progress bar, summary and logger are off"]}
SET_ASIDE = [
    "batches come in the protocol's order",
    "initial weights are drawn from the seed",
    "dropout begins anew at every epoch",
]
MODELS = {"cnn": (1_199_882, 71_565_312), "mlp": (101_770, 409_088)}


def make_document(
    *,
    seed: int = 0,
    platform: str = "cpu",
    kind: str = "local",
    engine: str = "lightning",
    accelerator: str = "cpu",
    accelerator_name: str | None = None,
    precision: str = "float32",
    model: str = "cnn",
    dataset: str = "mnist",
    epochs: int = 50,
    epoch_s: float = 9.0,
    accuracy: float = 0.9912,
    run_id: str | None = None,
    price: dict | None = None,
    verified: bool = True,
    segments: int = 1,
    **lies: object,
) -> dict:
    """One record as plain values.

    `lies` replace single values at the end, named with `__` for dots: `timing__total_s=1.0`.
    """
    name = f"{platform}-{engine}-{precision}-{model}-{dataset}-{epochs}-{seed}-{epoch_s}-{accuracy}"
    digest = hashlib.sha256(name.encode()).hexdigest()
    history = _history(f"{name}-{sorted(lies.items())}", epochs, seed, epoch_s, accuracy)
    train_s = sum(row["train_s"] for row in history)
    eval_s = sum(row["eval_s"] for row in history)
    phases = {
        "startup_s": 3.250000417,
        "data_s": 0.500000083,
        "build_s": 0.125000125,
        "warmup_s": 1.500000208,
        "train_s": train_s,
        "eval_s": eval_s,
        "checkpoint_s": 0.750000333,
        "other_s": 0.062500042,
    }
    n_parameters, flops_per_sample = MODELS[model]
    deviations = []
    if epochs != 50:
        deviations.append(f"epochs {epochs} (standard: 50)")
    if model != "cnn":
        deviations.append(f"model {model} (standard: cnn)")
    if dataset != "mnist":
        deviations.append(f"dataset {dataset} (standard: mnist)")
    # runs of one row follow each other by the hour, and no two rows ran at once
    row = f"{platform}-{engine}-{precision}-{model}-{dataset}-{epochs}-{sorted(lies.items())}"
    first = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=zlib.crc32(row.encode()) % 6000)
    created_at = first + timedelta(hours=6 * (seed % 20))
    place = _platform(platform, kind, verified)
    chip = place["signals"].get("chip")
    tf32_off = ["TF32 is off"] if (accelerator, precision) == ("cuda", "float32") else []
    document = {
        "schema_version": 2,
        "protocol_version": 1,
        "run_id": run_id or digest[:16],
        "created_at": created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "status": "completed",
        "status_reason": None,
        "platform": place,
        "engine": {
            "name": engine,
            "version": 1,
            "framework": FRAMEWORKS[engine][0],
            "framework_version": "2.15.0",
            "backend": FRAMEWORKS[engine][1] or accelerator,
            "precision": precision,
            "compile": "tf.function" if engine == "keras" else "none",
            "deterministic": accelerator == "cpu",
            "division": "stock",
            "switches": {},
            "kernels": [],
            "environment": {},
            "deviations_from_defaults": SET_ASIDE + tf32_off + OWN_LINES.get(engine, []),
        },
        "hardware": {
            "cpu_model": chip or "Intel(R) Xeon(R) CPU @ 2.20GHz",
            # x86 alone numbers its processors
            "cpu_family_model_stepping": None
            if "Apple" in str(lies.get("hardware__cpu_model", chip))
            else "6/79/0",
            "isa": "avx2",
            "logical_cpus": 4,
            "cores": 2,
            "cpu_quota": None,
            "threads": 4,
            "ram_gib": 16.0,
            "accelerator": accelerator,
            "accelerator_name": accelerator_name,
            "accelerator_count": 0 if accelerator == "cpu" else 1,
            "driver": None,
            "power_limit_w": None,
            "virtualised": False,
            "hypervisor": None,
            "reasons": {},
        },
        "software": {
            "python": "3.11.7",
            "os": "macOS 15.2" if chip or accelerator == "mps" else "Linux 6.1",
            "packages": {"numpy": "2.4.0", **dict.fromkeys(FRAMEWORKS[engine][2], "2.15.0")},
            "git_commit": "0" * 40,
            "git_dirty": False,
            "program_version": "0.1.0",
            "package_sha256": None,
        },
        "workload": {
            "model": model,
            "n_parameters": n_parameters,
            "flops_per_sample": flops_per_sample,
            "dataset": dataset,
            "dataset_sha256": dataset_sha256(dataset),
            "n_train": 60000,
            "n_test": 10000,
            "epochs": epochs,
            "batch_size": 64,
            "optimizer": "adam",
            "learning_rate": 0.001,
            "seed": seed,
            "devices": 1,
            "num_nodes": 1,
            "scaling": "strong",
            "steps_made": epochs * 938,
            "standard": not deviations,
            "deviations": deviations,
        },
        "timing": {
            "total_s": sum(phases.values()),
            **phases,
            "first_epoch_s": history[0]["train_s"] if history else None,
            "steady_epoch_s": (
                median(row["train_s"] for row in history[1:]) if len(history) > 1 else None
            ),
            "segments": segments,
            "data_wait_s": sum(row["data_wait_s"] for row in history),
            "reasons": {},
        },
        "epochs": history,
        "result": {
            "test_accuracy": history[-1]["test_accuracy"],
            "test_loss": history[-1]["test_loss"],
            "weights_sha256": digest,
            "images_per_s": epochs * 60000 / train_s,
            "flops_per_s": epochs * 60000 / train_s * flops_per_sample,
        },
        "resources": {
            "cpu_percent": 380.0,
            "rss_peak_mib": 900.0,
            "gpu_percent": None,
            "gpu_memory_peak_mib": None,
            "gpu_power_w": None,
            "energy_j": None,
            "energy_source": None,
            "throttled_s": 0.0,
            "samples": int(0.997 * (train_s + eval_s + 0.75 + 0.0625)),
            "reasons": {"gpu_percent": "no GPU"},
        },
        "price": {
            "amount_per_hour": None,
            "unit": None,
            "source": None,
            "as_of": None,
            "free": False,
            "reason": "own hardware",
            **(_price(platform) if price is None else price),
        },
        "limits": {
            "session_s": None,
            "quota_s_per_week": None,
            "source": None,
            "as_of": None,
            "reason": "own hardware",
        },
    }
    for name, value in lies.items():
        set_value(document, name.split("__"), value)
    return document


def make_record(**changes: object) -> Record:
    """The record of `make_document`, checked against the schema."""
    return Record.model_validate(make_document(**changes))


def write_records(folder: Path, records: list[Record]) -> Path:
    """Write each into a run's folder of its own under `folder`."""
    for number, record in enumerate(records):
        write_record(record, folder / f"run{number:05d}" / "record.json")
    return folder


def set_value(document: dict, keys: list[str], value: object) -> None:
    """Replace the value at a path of keys and list positions."""
    target = document
    for key in keys[:-1]:
        target = target[int(key)] if isinstance(target, list) else target[key]
    last = keys[-1]
    target[int(last) if isinstance(target, list) else last] = copy.deepcopy(value)


def dataset_sha256(dataset: str) -> str:
    """MNIST's own digest, or one that passes for another data set's."""
    if dataset == "mnist":
        return str(protocol()["mnist_sha256"])
    return hashlib.sha256(dataset.encode()).hexdigest()


def _price(platform: str) -> dict:
    known = known_platforms().get(platform)
    return {**known["price"], "reason": known["price"].get("reason")} if known else {}


def _history(name: str, epochs: int, seed: int, epoch_s: float, accuracy: float) -> list[dict]:
    """Rises to the accuracy; every time and loss is a run's own, as a clock and a network give."""
    noise = random.Random(name)
    # evenly spread and shuffled, so that means and medians are what was asked for
    spread = [(2 * number + 1) / epochs - 1 + 1e-3 * noise.random() for number in range(epochs)]
    noise.shuffle(spread)
    return [
        _epoch(number, noise, wobble, seed, epoch_s, accuracy, epochs)
        for number, wobble in enumerate(spread, start=1)
    ]


def _epoch(
    number: int,
    noise: random.Random,
    wobble: float,
    seed: int,
    epoch_s: float,
    accuracy: float,
    epochs: int,
) -> dict:
    reached = min(accuracy, 0.965 + 0.03 * min(1.0, number / 10))
    if number == epochs:
        reached = accuracy
    right = round(min(1.0, reached) * 10000)
    return {
        "epoch": number,
        "train_s": round(
            epoch_s * (1 + 0.004 * wobble + 1e-6 * seed + (0.05 if number == 1 else 0)), 9
        ),
        "eval_s": round(epoch_s / 20 * (1 + 0.001 * noise.uniform(-1, 1)), 9),
        "train_loss": 0.2 / number * (1 + 0.1 * noise.uniform(-1, 1)),
        "train_accuracy": round((1 - 0.06 / number) * 60000) / 60000,
        "test_loss": 0.03 + (1 - right / 10000) + 0.001 * noise.uniform(-1, 1),
        "test_accuracy": right / 10000,
        "data_wait_s": round(epoch_s / 50 * (1 + 0.01 * wobble), 9),
    }


def _platform(name: str, kind: str, verified: bool) -> dict:
    """As conf/platform has it where it knows the name, with the signals that speak for it."""
    known = known_platforms().get(name)
    rule = (known or {}).get("detect") or {}
    seen = {}
    if front := rule.get("frontend"):
        seen[signals.FRONTENDS[front][0]] = "set"
    if rule.get("host") == "jetstream":
        # the label ends in it: Jetstream2 (A100, g3.xl)
        flavor = (known or {})["label"].rstrip(")").rpartition(" ")[2]
        seen |= {"dmi": "OpenStack Nova", "flavor": flavor}
    if chip := rule.get("chip"):
        seen["chip"] = chip
    found = signals.from_signals(seen if verified else {}).name
    return {
        "name": name,
        "label": known["label"] if known else f"{name} machine",
        "kind": known["kind"] if known else kind,
        "claimed": name,
        "detected": "linux" if found == "none" else found,
        "verified": verified,
        "rehearsal": False,
        "signals": seen if verified else {},
    }
