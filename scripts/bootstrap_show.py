"""The result of the bootstrap's runs in a notebook: a table and curves."""

import importlib.util
import json
from pathlib import Path


def show(exit_code: int) -> list[Path]:
    """In a notebook: the runs' results and curves, of the records that lie here; their files."""
    from IPython.display import Markdown, display

    paths = sorted(Path().glob("record*.json"), key=lambda path: len(path.name))
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    records = [record for record in records if record["status"] == "completed"]
    assert records, "the run failed: the lines above say why"
    if exit_code:
        print("not every run went well: the lines above say why")
    columns = [_column(record) for record in records]
    lines = [f"| {name} | {' | '.join(one[name] for one in columns)} |" for name in columns[0]]
    head = ["| " * (len(columns) + 1) + "|", "|---" * (len(columns) + 1) + "|"]
    display(Markdown("\n".join(head + lines)))
    if importlib.util.find_spec("matplotlib"):
        _draw(records)
    else:
        print("no curves: there is no matplotlib here")
    return paths


def _column(record: dict) -> dict[str, str]:
    hardware, timing, result = record["hardware"], record["timing"], record["result"]
    return {
        "Platform": record["platform"]["label"],
        "Framework": f"{record['engine']['framework']} {record['engine']['framework_version']}",
        "Hardware": hardware["accelerator_name"] or hardware["cpu_model"],
        "Training time": f"{timing['train_s']:.1f} s of {timing['total_s']:.1f} s in all",
        "Test accuracy": f"{result['test_accuracy']:.2%} after {len(record['epochs'])} epochs",
        "Speed": f"{result['images_per_s']:,.0f} images/s",
        "Follows the protocol": "yes" if record["workload"]["standard"] else "no",
        "Platform recognised": "yes" if record["platform"]["verified"] else "no",
    }


def _draw(records: list[dict]) -> None:
    import matplotlib.pyplot as plt

    _, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
    for record in records:
        framework, epochs = record["engine"]["framework"], record["epochs"]
        numbers = [entry["epoch"] for entry in epochs]
        for name, style in (("train_accuracy", "o:"), ("test_accuracy", "o-")):
            values = [entry[name] for entry in epochs]
            left.plot(numbers, values, style, ms=3, label=f"{framework}, {name[:-9]}")
        right.plot(numbers, [entry["train_s"] for entry in epochs], "o-", ms=3, label=framework)
    left.set(title="Accuracy", xlabel="epoch")
    right.set(title="Training time of each epoch", xlabel="epoch", ylabel="s", ylim=(0, None))
    for axes in (left, right):
        axes.legend()
    plt.show()
