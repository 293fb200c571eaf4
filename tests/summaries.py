"""Made-up sets of records, and what the report says of them."""

from pathlib import Path

from mnist_gpu.records.run import Run
from mnist_gpu.report.summary import summarise
from tests.records import make_record

A100 = {"accelerator": "cuda", "accelerator_name": "NVIDIA A100-SXM4-40GB"}
SU = {
    "amount_per_hour": 64.0,
    "unit": "SU",
    "source": "https://example.org/su",
    "as_of": "2026-10-01",
    "reason": None,
}
CU = {**SU, "amount_per_hour": 0.08, "unit": "CU"}
FREE = {"free": True, "reason": "free of charge"}
LABORATORY = {
    "platform": "lab",
    "hardware__cpu_model": "AMD Ryzen 9 7950X",
    "hardware__cpu_family_model_stepping": "25/97/2",
}


def summary_of(*records, **more):
    """What the report says; the gate's reference is Lightning on the CPU, where it is there."""
    reference = {
        record.run_id: record.result.test_accuracy
        for record in records
        if (record.platform.name, record.engine.name) == ("cpu", "lightning")
        and record.workload.standard
    }
    runs = [Run.of(Path("record.json"), record) for record in records]
    return summarise(runs, **{"reference": reference, **more})


def seeds(count=5, **changes):
    """Runs of one row, one a seed."""
    epoch_s = changes.pop("epoch_s", 9.0)
    accuracy = changes.pop("accuracy", 0.9912)
    return [
        make_record(
            seed=seed,
            epoch_s=epoch_s * (1 + 0.002 * seed),
            accuracy=accuracy + 0.0002 * (seed % 3),
            **changes,
        )
        for seed in range(count)
    ]


def small_field():
    """Records of a small field: two engines here, a GPU, two clouds, one that trains badly."""
    return [
        *seeds(),
        *seeds(engine="torch", epoch_s=8.8),
        *seeds(engine="keras", epoch_s=12.0),
        *seeds(platform="jetstream", kind="hpc", epoch_s=1.9, price=SU, **A100),
        *seeds(platform="colab", kind="cloud", engine="tensorflow", epoch_s=20.0, price=CU),
        *seeds(count=1, platform="kaggle", kind="cloud", epoch_s=7.0, price=FREE),
        *seeds(count=3, platform="lab", epoch_s=1.0, accuracy=0.981, **A100),
    ]


def row_named(summary, platform, engine="lightning"):
    (row,) = [
        row for row in summary.rows if (row.key.platform, row.key.engine) == (platform, engine)
    ]
    return row


def on_devices(devices, epoch_s, **changes):
    """Three runs of one work on so many devices."""
    return [
        make_record(
            seed=seed,
            platform="jetstream",
            epoch_s=epoch_s * (1 + 0.002 * seed),
            workload__standard=devices == 1,
            workload__devices=devices,
            workload__deviations=[f"devices {devices} (standard: 1)"] * (devices > 1),
            hardware__accelerator_count=devices,
            run_id=f"devices-{devices}-{seed}-{changes.get('engine', 'lightning')}",
            **A100,
            **changes,
        )
        for seed in range(3)
    ]
