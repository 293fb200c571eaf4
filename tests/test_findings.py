"""Every sentence of the findings for made-up sets of records, as a whole: tests/findings/*.txt.

A set that changes is printed anew by `python -m tests.test_findings`, and read before it is kept.
"""

from pathlib import Path
from unittest import mock

import pytest

from mnist_gpu.records.rules.claims import known_platforms
from mnist_gpu.records.run import Run
from mnist_gpu.report import comparison
from mnist_gpu.report.summary import Summary, summarise
from mnist_gpu.report.table import sections
from tests.records import make_record

EXPECTED = Path(__file__).parent / "findings"
PLATFORMS = (
    *("colab", "colab_t4", "cpu", "cuda", "jetstream", "jetstream_cpu", "jetstream_h100"),
    *("jupyterhub", "kaggle", "kaggle_t4", "m1"),
)
LABORATORY = {
    "hardware__cpu_model": "AMD Ryzen 9 7950X",
    "hardware__cpu_family_model_stepping": "25/97/2",
    "hardware__threads": 16,
    "hardware__cores": 16,
    "hardware__ram_gib": 61.9,
}
A100 = {
    "platform": "jetstream",
    "kind": "hpc",
    "accelerator": "cuda",
    "accelerator_name": "NVIDIA A100-SXM4-40GB",
    "hardware__cpu_model": "AMD EPYC-Milan Processor",
    "hardware__virtualised": True,
    "price": {
        "amount_per_hour": 64.0,
        "unit": "SU",
        "source": "https://example.org",
        "reason": None,
    },
}
M1 = {
    "platform": "m1",
    "accelerator": "mps",
    "accelerator_name": "Apple M1",
    "hardware__cpu_model": "Apple M1",
    "hardware__cores": 8,
    "hardware__threads": 8,
    "hardware__ram_gib": 8.0,
}
M1_CPU = {**M1, "platform": "cpu", "accelerator": "cpu", "accelerator_name": None}
KAGGLE = {
    "platform": "kaggle",
    "kind": "cloud",
    "hardware__virtualised": True,
    "hardware__ram_gib": 31.4,
    "price": {"free": True, "reason": "free of charge"},
}
COLAB = {
    "platform": "colab",
    "kind": "cloud",
    "hardware__virtualised": True,
    "hardware__threads": 2,
    "hardware__ram_gib": 12.7,
    "engine__framework_version": "2.11.0",
    "price": {
        "amount_per_hour": 0.08,
        "unit": "CU",
        "source": "https://example.org",
        "reason": None,
    },
}
HUB = {
    "platform": "jupyterhub",
    "kind": "cloud",
    "price": {"free": True, "reason": "free of charge to the hub's users"},
}
TUNED = {"engine__division": "tuned", "engine__switches": {"compile": True, "fused_adam": True}}
OPEN = {"engine__division": "open", "engine__kernels": ["pooled_convolution", "sparse_linear"]}


def runs(epoch_s: float, n: int = 5, accuracy: float = 0.9912, **changes: object) -> list:
    """Records of seeds 0 to n - 1, a few per mille apart."""
    return [
        make_record(
            seed=seed,
            epoch_s=epoch_s * (1 + 0.004 * ((seed * 3) % 5)),
            accuracy=accuracy + 0.0002 * (seed % 3),
            **changes,
        )
        for seed in range(n)
    ]


def slowing(records: list, factor: float) -> list:
    """The same with the last ten epochs slower."""
    found = []
    for record in records:
        epochs = [
            epoch.model_copy(
                update={"train_s": epoch.train_s * (factor if epoch.epoch > 40 else 1)}
            )
            for epoch in record.epochs
        ]
        found.append(record.model_copy(update={"epochs": epochs}))
    return found


def five_platforms() -> list:
    return [
        *runs(19.0, **M1, resources__energy_j=21_000.0, resources__energy_source="powermetrics"),
        *runs(60.0, **KAGGLE),
        *runs(100.0, **COLAB),
        *runs(1.9, **A100, resources__energy_j=52_000.0, resources__energy_source="NVML"),
        *runs(40.0, **HUB, hardware__ram_gib=4.0, hardware__virtualised=True),
        *runs(35.0, engine="keras", **HUB, hardware__ram_gib=4.0, hardware__virtualised=True),
        *runs(90.0, engine="tensorflow", **COLAB),
    ]


SETS = {
    "nothing": lambda: [],
    "one_machine": lambda: runs(9.0),
    "two_machines_one_engine": lambda: runs(9.0) + runs(4.0, **LABORATORY, platform="lab"),
    "two_machines_two_engines": lambda: runs(9.0) + runs(4.0, engine="keras", **A100),
    "everything_n_1": lambda: (
        runs(9.0, 1) + runs(1.9, 1, **A100) + runs(60.0, 1, **KAGGLE) + runs(8.0, 1, engine="torch")
    ),
    "n_2_beside_n_5": lambda: runs(9.0) + runs(1.9, 2, **A100),
    "one_outlier": lambda: (
        runs(9.0)
        + runs(4.0, 4, **LABORATORY, platform="lab")
        + [make_record(seed=4, epoch_s=14.0, **LABORATORY, platform="lab")]
    ),
    "interval_wider_than_two": lambda: (
        runs(4.0)
        + [
            make_record(seed=seed, epoch_s=s, **LABORATORY, platform="lab")
            for seed, s in enumerate((5.0, 9.0, 16.0))
        ]
    ),
    "cannot_be_told_apart": lambda: runs(9.0) + runs(9.01, **LABORATORY, platform="lab"),
    "builds_of_torch": lambda: (
        runs(9.0, engine__backend="torch 2.15.0+cpu")
        + runs(1.9, **A100, engine__backend="torch 2.11.0+cu130")
        + runs(8.5, engine="torch")
        + runs(1.8, engine="torch", **A100)
    ),
    "doubts": lambda: runs(9.0) + runs(1.9, **A100, software__git_dirty=True),
    "seeds_picked": lambda: runs(9.0)[2:] + runs(1.9, **A100),
    "hub_at_home": lambda: (
        runs(9.0)
        + runs(12.0, **HUB, platform__rehearsal=True)
        + runs(11.0, engine="keras", **HUB, platform__rehearsal=True)
    ),
    "hub_on_the_same_machine_undeclared": lambda: runs(9.0) + runs(12.0, **HUB),
    "five_platforms": five_platforms,
    "accelerator_and_cpu_of_one_m1": lambda: runs(19.0, **M1) + runs(11.0, **M1_CPU),
    "tuned_and_open_beside_stock": lambda: (
        runs(9.0)
        + runs(7.0, **TUNED)
        + runs(3.0, **OPEN)
        + runs(1.9, **A100)
        + runs(0.4, **A100, **TUNED)
    ),
    "tuned_in_other_precisions": lambda: (
        runs(1.9, **A100)
        + runs(0.4, **A100, **TUNED, precision="bf16-mixed")
        + runs(1.2, **A100, precision="tf32")
        + runs(0.3, **A100, **TUNED, precision="tf32")
        + runs(0.6, **A100, **TUNED)
    ),
    "tuned_without_stock": lambda: runs(7.0, **TUNED) + runs(0.4, **A100, **TUNED),
    "resumed": lambda: runs(9.0) + runs(1.9, segments=2, **A100),
    "different_program_versions": lambda: (
        runs(9.0) + runs(8.0, engine="torch", software__program_version="0.2.0")
    ),
    "a_row_of_two_program_versions": lambda: (
        runs(9.0, 3)
        + [
            make_record(seed=seed, epoch_s=9.1, software__program_version="0.2.0")
            for seed in (3, 4)
        ]
        + runs(8.0, engine="torch")
    ),
    "frameworks_on_one_machine": lambda: (
        runs(9.0)
        + runs(8.8, engine="torch")
        + runs(6.0, engine="keras")
        + runs(6.01, engine="tensorflow")
        + runs(5.0, 2, engine="mlx")
    ),
    "drifting": lambda: slowing(runs(9.0), 1.2) + runs(1.9, **A100),
    "accuracy_not_equivalent": lambda: runs(9.0) + runs(1.9, accuracy=0.981, **A100),
    "not_judged": lambda: runs(9.0) + runs(1.9, 2, accuracy=0.981, **A100),
    "prices_free_su_cu": lambda: (
        runs(1.9, **A100)
        + runs(60.0, **KAGGLE)
        + runs(100.0, **COLAB)
        + runs(19.0, **M1)
        + runs(
            9.0,
            **LABORATORY,
            platform="lab",
            kind="cloud",
            price={
                "amount_per_hour": 0.5,
                "unit": "USD",
                "source": "https://example.org",
                "reason": None,
            },
        )
    ),
    "two_precisions": lambda: (
        runs(1.9, **A100) + runs(1.2, precision="tf32", **A100) + runs(9.0, precision="tf32")
    ),
}
# the sets in which the first row is the gate's reference
WITHOUT_REFERENCE = {"nothing", "one_machine", "tuned_without_stock", "everything_n_1"}


def summary_of(name: str) -> Summary:
    """With the platforms of the day when the texts were read: one more changes none of them."""
    records = SETS[name]()
    pinned = {} if name in WITHOUT_REFERENCE else records[: 3 if name == "seeds_picked" else 5]
    reference = {record.run_id: record.result.test_accuracy for record in pinned}
    made = [Run.of(Path("record.json"), record) for record in records]
    then = {platform: known_platforms()[platform] for platform in PLATFORMS}
    with mock.patch.object(comparison, "known_platforms", return_value=then):
        return summarise(made, reference=reference)


def text_of(summary: Summary) -> str:
    """The sentences by paragraph, then what stands beside the rows."""
    lines = []
    for found in summary.findings:
        refs = f" [{', '.join(found.refs)}]" if found.refs else ""
        lines.append(f"{found.topic}: {found.text}{refs}")
    for section in sections(summary):
        lines += ["", f"== {section.title}"]
        lines += [
            f"{line.cells[0] or '-'} | {' | '.join(line.cells[1:9])}" for line in section.lines
        ]
        lines += [f"note {line.cells[0]}: {line.note}" for line in section.lines if line.note]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", SETS)
def test_the_sentences_of_a_set_of_records_are_those_that_were_read(name):
    expected = (EXPECTED / f"{name}.txt").read_text(encoding="utf-8")
    assert text_of(summary_of(name)) == expected


if __name__ == "__main__":
    EXPECTED.mkdir(exist_ok=True)
    for each in SETS:
        (EXPECTED / f"{each}.txt").write_text(text_of(summary_of(each)), encoding="utf-8")
