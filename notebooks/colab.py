# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How fast does Google Colab train MNIST?
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/mnist-gpu/blob/main/notebooks/colab.ipynb)
#
# *Runtime > Run all* trains the standard network for 50 epochs with this runtime's own TensorFlow,
# then with PyTorch Lightning, by which machines are compared; it shows both results, and saves two
# files to send back, `record.json` and `record-lightning.json`. For a T4, choose *Runtime > Change
# runtime type > T4 GPU* first. Keep this tab open until it has ended. `ENGINES = "own"` below
# leaves Lightning out.

# %% tags=["parameters"]
SOURCE = "https://github.com/OWNER/mnist-gpu/archive/refs/heads/main.zip"  # @param {type:"string"}
EPOCHS = 50  # @param {type:"integer"}
ENGINES = "own,lightning"  # @param {type:"string"}
MORE = ""  # @param {type:"string"}

# %% [markdown]
# ## Install and train
# Everything goes into an environment of its own: the runtime's TensorFlow and PyTorch stay as they
# are.

# %%
import json
import shutil
import sys
import urllib.request
import zipfile
from pathlib import Path

archive, _ = urllib.request.urlretrieve(SOURCE, "mnist-gpu.zip")
with zipfile.ZipFile(archive) as packed:
    packed.extractall("mnist-gpu")
bootstrap_file = next(Path("mnist-gpu").rglob("bootstrap.py"))
sys.path.insert(0, str(bootstrap_file.parent))
import bootstrap

has_wheel = any(Path("mnist-gpu").rglob("mnist_gpu-*.whl"))
project = ["--bundle", archive] if has_wheel else ["--source", str(bootstrap_file.parents[1])]
platform = "colab_t4" if shutil.which("nvidia-smi") else "colab"
overrides = [f"platform={platform}", f"epochs={EPOCHS}", *MORE.split()]
exit_code = bootstrap.main([*project, "--into", ".", "--engines", ENGINES, "--", *overrides])
paths = sorted(Path().glob("record*.json"), key=lambda path: len(path.name))
records = [json.loads(path.read_text()) for path in paths]
records = [record for record in records if record["status"] == "completed"]
assert records, "the run failed: the lines above say why"
if exit_code:
    print("not every run went well: the lines above say why")

# %% [markdown]
# ## The result

# %%
from IPython.display import Markdown, display


def column(record: dict) -> dict[str, str]:
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


columns = [column(record) for record in records]
lines = [f"| {name} | {' | '.join(one[name] for one in columns)} |" for name in columns[0]]
head = ["| " * (len(columns) + 1) + "|", "|---" * (len(columns) + 1) + "|"]
display(Markdown("\n".join(head + lines)))

# %%
import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
for record in records:
    framework, epochs = record["engine"]["framework"], record["epochs"]
    numbers = [entry["epoch"] for entry in epochs]
    for name, style in (("train_accuracy", "o:"), ("test_accuracy", "o-")):
        values = [entry[name] for entry in epochs]
        left.plot(numbers, values, style, ms=3, label=f"{framework}, {name[:-9]}")
    right.plot(numbers, [entry["train_s"] for entry in epochs], "o-", ms=3, label=framework)
left.set(title="Accuracy", xlabel="epoch")
left.legend()
right.set(title="Training time of each epoch", xlabel="epoch", ylabel="s", ylim=(0, None))
right.legend()
plt.show()

# %% [markdown]
# ## Keep it
# The records hold no name, path or account. To have them in the table, follow
# [Adding your results](https://github.com/OWNER/mnist-gpu/blob/main/docs/adding-results.md).

# %%
try:
    from google.colab import files

    for path in paths:
        files.download(path.name)
except ImportError:
    print("the records lie beside this notebook:", *paths)
