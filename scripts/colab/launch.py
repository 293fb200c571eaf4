#!/usr/bin/env python3
"""Run the benchmark on Google Colab from a terminal (docs/platforms/colab.md)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a checkout need not be installed

from mnist_gpu.launch.colab import main
from mnist_gpu.launch.entry import run

if __name__ == "__main__":
    run(main)
