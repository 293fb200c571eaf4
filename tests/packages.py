"""What tests drive of Debian's packages: tests/system_packages.sh installs it where it can."""

import subprocess
from pathlib import Path

FAILED = 3


def why_not(what: str) -> str:
    """Have `browser`, `slurm` or `compiler` there; empty, or why this machine cannot have it. An
    installation that fails is an error, and no reason to leave tests out."""
    script = Path(__file__).parent / "system_packages.sh"
    done = subprocess.run(["bash", script, what], capture_output=True, text=True, check=False)
    assert done.returncode != FAILED, done.stderr
    return done.stderr.strip() if done.returncode else ""
