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
# # How fast does Kaggle train MNIST?
# [![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)](https://kaggle.com/kernels/welcome?src=https://github.com/OWNER/mnist-gpu/blob/main/notebooks/kaggle.ipynb)
#
# Brought here by that badge, or by *File > Import Notebook*. In the panel on the right, *Session
# options*: switch *Internet* on (Kaggle asks for a verified phone number), and for a GPU choose
# *GPU T4 x2*, of which one is used. Then *Save Version > Save & Run All (Commit)*: the run goes on
# without this tab. It trains the standard network for 50 epochs with PyTorch Lightning, shows the
# result, and leaves one file to send back, `record.json`, under *Output*.
#
# To know first how long that takes: with `EPOCHS = 1` and `MORE = "estimate=true"` below the output
# ends with an estimate for 50 epochs, and a line to compare with those of other machines. `MORE`
# takes any other option of a run as well.

# %% tags=["parameters"]
SOURCE = "https://github.com/OWNER/mnist-gpu/archive/refs/heads/main.zip"  # @param {type:"string"}
EPOCHS = 50  # @param {type:"integer"}
ENGINES = "own,lightning"  # @param {type:"string"}
MORE = ""  # @param {type:"string"}

# %% [markdown]
# ## Install and train
# Everything goes into an environment of its own: the image's PyTorch and TensorFlow stay as they
# are. Without internet, add the unpacked bundle of `scripts/make_bundle.py` as a data set
# (*Add Input*): where one is attached, it is used.

# %%
import shutil
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path

INPUT = Path("/kaggle/input")
if any(INPUT.rglob("mnist_gpu-*.whl")):
    bootstrap_file = next(INPUT.rglob("bootstrap.py"))
    project = ["--bundle", str(INPUT)]
else:
    # not beside the record: all that lies there is kept as the notebook's output
    folder = Path(tempfile.mkdtemp())
    archive, _ = urllib.request.urlretrieve(SOURCE, folder / "mnist-gpu.zip")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    bootstrap_file = next(folder.rglob("bootstrap.py"))
    has_wheel = any(folder.rglob("mnist_gpu-*.whl"))
    project = (
        ["--bundle", str(archive)] if has_wheel else ["--source", str(bootstrap_file.parents[1])]
    )
sys.path.insert(0, str(bootstrap_file.parent))
import bootstrap
import bootstrap_show

platform = "kaggle_t4" if shutil.which("nvidia-smi") else "kaggle"
# a session has two T4s, and the protocol's run is on one
overrides = [f"platform={platform}", f"epochs={EPOCHS}", "devices=1", *MORE.split()]
exit_code = bootstrap.main([*project, "--into", ".", "--engines", ENGINES, "--", *overrides])

# %% [markdown]
# ## The result

# %%
paths = bootstrap_show.show(exit_code)

# %% [markdown]
# ## Keep it
# When the version is saved, its page has `record.json` under *Output*. It holds no name, path or
# account. To have it in the table, follow
# [Adding your results](https://github.com/OWNER/mnist-gpu/blob/main/docs/adding-results.md).
