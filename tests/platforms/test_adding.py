"""A sixth platform is one file."""

import os
import re
import subprocess
import sys
from pathlib import Path

from mnist_gpu.records.store import read_record
from mnist_gpu.report.__main__ import main as report

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "platforms" / "adding.md"


def test_a_platform_added_by_the_guides_one_file_runs_and_gets_its_row(
    tmp_path: Path, mnist_dir: Path
) -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.S)
    # this machine has no RTX 4090
    text = example.replace("accelerator: cuda", "accelerator: cpu")
    text = re.sub(r"detect: .*", "detect: {}", text)
    path = tmp_path / "mine" / "platform" / "lab.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    quick = ["platform=lab", "engine=torch", "model=mlp", "epochs=1", "logger=none"]
    done = subprocess.run(
        [sys.executable, "-m", "mnist_gpu.train", "--config-dir", "mine", *quick],
        cwd=tmp_path,
        env={**os.environ, "MNIST_GPU_DATA": str(mnist_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [made] = (tmp_path / "outputs" / "lab").glob("*/record.json")
    record = read_record(made)
    assert (record.platform.claimed, record.platform.verified) == ("lab", True)
    readme = tmp_path / "README.md"
    readme.write_text("<!-- results:begin -->\n<!-- results:end -->\n")
    assert report([str(made.parent), "--readme", str(readme)]) == 0
    assert "RTX 4090" in readme.read_text()
