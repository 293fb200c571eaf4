"""What the README shows works as it stands there."""

import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.mark.slow
def test_the_example_of_the_trio_runs_as_it_is_printed(tmp_path, mnist_dir):
    begin, end = "<!-- trio:begin -->\n```python\n", "```\n<!-- trio:end -->"
    example = README.read_text(encoding="utf-8").split(begin)[1].split(end)[0]
    # a part of each epoch is enough to see that every line works
    example = example.replace("max_epochs=3", "max_epochs=2, limit_train_batches=20")
    command = [sys.executable, "-c", example]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [*epochs, accuracy] = done.stdout.strip().splitlines()[-3:]
    assert len(epochs) == 2
    assert accuracy.startswith("tensor(0.")
