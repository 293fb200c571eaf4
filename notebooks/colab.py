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
# shows the result, and saves one file, `record.json`, to send back. For a T4, choose *Runtime >
# Change runtime type > T4 GPU* first. Keep this tab open until it has ended.

# %% tags=["parameters"]
SOURCE = "https://github.com/OWNER/mnist-gpu/archive/refs/heads/main.zip"  # @param {type:"string"}
EPOCHS = 50  # @param {type:"integer"}
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
exit_code = bootstrap.main([*project, "--into", ".", "--", *overrides])
assert exit_code == 0, "the run failed: the lines above say why"

# %% [markdown]
# ## The result

# %%
from IPython.display import Markdown, display

record = json.loads(Path("record.json").read_text())
hardware, timing, result = record["hardware"], record["timing"], record["result"]
rows = {
    "Platform": record["platform"]["label"],
    "Framework": f"{record['engine']['framework']} {record['engine']['framework_version']}",
    "Hardware": hardware["accelerator_name"] or hardware["cpu_model"],
    "Training time": f"{timing['train_s']:.1f} s of {timing['total_s']:.1f} s in all",
    "Test accuracy": f"{result['test_accuracy']:.2%} after {len(record['epochs'])} epochs",
    "Speed": f"{result['images_per_s']:,.0f} images/s",
    "Follows the protocol": "yes" if record["workload"]["standard"] else "no",
    "Platform recognised": "yes" if record["platform"]["verified"] else "no",
}
lines = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
display(Markdown(f"| | |\n|---|---|\n{lines}"))

# %%
import matplotlib.pyplot as plt

epochs = [entry["epoch"] for entry in record["epochs"]]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
for name in ("train_accuracy", "test_accuracy"):
    left.plot(epochs, [entry[name] for entry in record["epochs"]], "o-", ms=3, label=name)
left.set(title="Accuracy", xlabel="epoch")
left.legend()
right.plot(epochs, [entry["train_s"] for entry in record["epochs"]], "o-", ms=3)
right.set(title="Training time of each epoch", xlabel="epoch", ylabel="s", ylim=(0, None))
plt.show()

# %% [markdown]
# ## Keep it
# The record holds no name, path or account. To have it in the table, follow
# [Adding your results](https://github.com/OWNER/mnist-gpu/blob/main/docs/adding-results.md).

# %%
try:
    from google.colab import files

    files.download("record.json")
except ImportError:
    print("record.json lies beside this notebook")
