#!/usr/bin/env python3
"""Put together what a platform without internet needs: wheels and MNIST in one zip."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed

from mnist_gpu.launch.bundle import main
from mnist_gpu.launch.entry import run

if __name__ == "__main__":
    run(main)
