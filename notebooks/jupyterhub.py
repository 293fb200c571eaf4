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
# # How fast does this JupyterHub train MNIST?
#
# *Run > Run All Cells* trains the standard network for 50 epochs with Keras on the CPUs that your
# server may use, then with PyTorch Lightning, by which machines are compared; it shows both
# results, and saves two files to send back, `record.json` and `record-lightning.json`. Keep this
# tab open: a server whose output nobody reads may be stopped as idle. Where the server has no
# PyTorch, several GB are installed for the second run; `ENGINES = "own"` below leaves it out.
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
# Everything goes into an environment of its own: the server's own packages stay as they are.

# %%
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
import bootstrap_show

has_wheel = any(Path("mnist-gpu").rglob("mnist_gpu-*.whl"))
project = ["--bundle", archive] if has_wheel else ["--source", str(bootstrap_file.parents[1])]
overrides = ["platform=jupyterhub", f"epochs={EPOCHS}", *MORE.split()]
exit_code = bootstrap.main([*project, "--into", ".", "--engines", ENGINES, "--", *overrides])

# %% [markdown]
# ## The result

# %%
paths = bootstrap_show.show(exit_code)

# %% [markdown]
# ## Keep it
# The records lie beside this notebook: right-click each in the file browser, *Download*. They
# hold no name, path or account. To have them in the table, follow
# [Adding your results](https://github.com/OWNER/mnist-gpu/blob/main/docs/adding-results.md).
