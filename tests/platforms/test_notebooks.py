"""The notebooks as their readers run them: every cell, from the first to the last."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_gpu.launch import payload
from mnist_gpu.records.estimate import read_lines
from mnist_gpu.records.store import read_record
from tests.platforms import kaggle_api
from tests.platforms.conftest import CHECKOUT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
NOTEBOOKS = CHECKOUT / "notebooks"
# seen in a Colab runtime: docs/platforms/colab.md
COLAB = {
    "COLAB_RELEASE_TAG": "release-colab-external_20260819-060047_RC00",
    "COLAB_BACKEND_URL": "http://172.28.0.1:8008",
    "COLAB_JUPYTER_IP": "172.28.0.12",
    "COLAB_GPU": "",
}
KAGGLE = kaggle_api.ENVIRONMENT
HUB = {"JUPYTERHUB_USER": "ada", "JUPYTERHUB_API_URL": "http://127.0.0.1:8081/hub/api"}
QUICK = "model=mlp logger=none"


def run_all(
    name: str,
    values: dict,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    moved: dict[str, str] | None = None,
) -> str:
    """Execute a notebook in `folder` with other parameters and places; all it printed."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    place = next(
        number
        for number, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", [])
    )
    lines = "\n".join(f"{key} = {value!r}" for key, value in values.items())
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(lines))
    for cell in notebook.cells:
        for place, other in (moved or {}).items():
            cell.source = cell.source.replace(place, other)
    jupyter = folder.with_name(f"{folder.name}-jupyter")
    spec = jupyter / "kernels" / "bench" / "kernel.json"
    spec.parent.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "bench", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(jupyter))
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="bench", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return json.dumps([cell.get("outputs", []) for cell in notebook.cells])


@pytest.fixture
def few(digits: list[str]) -> str:
    """What makes a run short: where its images come from, one test on real ones shows."""
    return " ".join([QUICK, *digits])


@pytest.fixture
def colab_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for `google.colab`: what is offered for download is noted in a file."""
    noted = tmp_path / "downloaded.txt"
    package = tmp_path / "modules" / "google" / "colab"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    text = f"def download(name):\n    open({str(noted)!r}, 'a').write(name + '\\n')\n"
    (package / "files.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    return noted


@pytest.mark.slow
def test_the_colab_notebook_runs_all_and_saves_its_record(
    tmp_path: Path, bundle: Path, few: str, colab_module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorflow")
    pytest.importorskip("matplotlib")
    for name, value in COLAB.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    values = {"SOURCE": bundle.as_uri(), "EPOCHS": 2, "MORE": few}
    shown = run_all("colab", values, tmp_path, monkeypatch)
    record = read_record(tmp_path / "record.json")
    assert record.platform.claimed == "colab"
    assert record.platform.verified
    assert record.engine.name == "tensorflow"
    assert len(record.epochs) == 2
    assert "| Test accuracy |" in shown
    assert "image/png" in shown
    assert colab_module.read_text() == "record.json\nrecord-lightning.json\n"
    common = read_record(tmp_path / "record-lightning.json")
    assert (common.engine.name, common.engine.division) == ("lightning", "stock")
    assert shown.count("after 2 epochs") == 2


@pytest.mark.slow
def test_the_hub_notebook_runs_all_and_leaves_its_record(
    tmp_path: Path, bundle: Path, few: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("keras")
    for name, value in HUB.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    values = {"SOURCE": bundle.as_uri(), "EPOCHS": 1, "MORE": few}
    shown = run_all("jupyterhub", values, tmp_path, monkeypatch)
    record = read_record(tmp_path / "record.json")
    assert record.platform.verified
    assert record.engine.name == "keras"
    assert read_record(tmp_path / "record-lightning.json").engine.name == "lightning"
    assert "| Test accuracy |" in shown


@pytest.mark.slow
@pytest.mark.parametrize("attached", [False, True], ids=["internet", "an attached bundle"])
def test_the_kaggle_notebook_runs_all_and_leaves_its_record_as_output(
    tmp_path: Path, bundle: Path, few: str, attached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    for name, value in KAGGLE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    inputs, working = tmp_path / "input", tmp_path / "working"
    (inputs / "mnist-gpu-bundle").mkdir(parents=True)
    working.mkdir()
    more = f"{QUICK if attached else few} estimate=true"
    values = {"SOURCE": bundle.as_uri(), "EPOCHS": 1, "MORE": more}
    if attached:
        shutil.unpack_archive(bundle, inputs / "mnist-gpu-bundle", "zip")
        values["SOURCE"] = "http://127.0.0.1:9/nothing.zip"
    moved = {"/kaggle/input": str(inputs)}
    shown = run_all("kaggle", values, working, monkeypatch, moved)
    record = read_record(working / "record.json")
    assert record.platform.claimed == "kaggle"
    assert record.platform.verified
    assert record.engine.name == "lightning"
    assert record.engine.division == "stock"
    assert record.workload.dataset == ("mnist" if attached else "custom")
    assert "| Test accuracy |" in shown
    [estimate], _ = read_lines(shown)
    assert (estimate.platform, estimate.epochs) == ("kaggle", 50)
    # Kaggle keeps what lies here, and one run is both the platform's and the common one
    assert sorted(path.name for path in working.iterdir()) == ["outputs", "record.json"]


def test_a_notebook_whose_run_fails_stops_there_with_the_reason(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    values = {"SOURCE": bundle.as_uri(), "EPOCHS": 0, "MORE": "engine=lightning"}
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="the run failed"):
        run_all("jupyterhub", values, tmp_path, monkeypatch)
    assert not (tmp_path / "record.json").exists()


def test_the_ipynb_files_are_current_and_hold_no_outputs() -> None:
    script = CHECKOUT / "scripts" / "make_notebooks.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        assert not any(cell.get("outputs") for cell in notebook["cells"])


@pytest.mark.parametrize(
    ("name", "opens"),
    [
        ("colab", "https://colab.research.google.com/github/"),
        ("kaggle", "https://kaggle.com/kernels/welcome?src=https://github.com/"),
    ],
)
def test_the_badge_opens_the_generated_notebook(name: str, opens: str) -> None:
    text = (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
    assert opens in text
    assert f"/blob/main/notebooks/{name}.ipynb" in text


def test_a_script_sent_by_colab_run_works_inside_a_kernel(tmp_path: Path) -> None:
    """`colab run` executes a script's text in a kernel: no __file__, arguments in sys.argv."""
    script = payload.bootstrap()
    harness = (
        "import sys\n"
        "sys.argv = ['bootstrap.py', '--source', 'installed', '--dry-run', 'platform=colab']\n"
        f"exec(compile({script!r}, 'cell', 'exec'), {{'__name__': '__main__'}})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", harness],
        cwd=tmp_path,
        env={**os.environ, **COLAB},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "mnist_gpu.train platform=colab" in done.stdout
