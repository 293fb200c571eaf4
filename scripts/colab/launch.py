#!/usr/bin/env python3
"""Run the benchmark on Google Colab from a terminal (docs/platforms/colab.md).

Installs what it needs on first use.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LAUNCH = 'set -euo pipefail; source "$1"; shift; launch "$@"'
DOOR = str(HERE.parent / "environment.sh")
os.execvp("bash", ["bash", "-c", LAUNCH, "launch.py", DOOR, HERE.name, *sys.argv[1:]])
