#!/usr/bin/env python3
"""Run the benchmark on a JupyterHub from outside it (docs/platforms/jupyterhub.md)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout need not be installed

from mnist_gpu.launch.entry import run
from mnist_gpu.launch.jupyterhub import main

if __name__ == "__main__":
    run(main)
