"""A folder full of somebody else's files, under every name that a command of ours writes."""

from pathlib import Path

from mnist_gpu import files
from tests.records import make_record

# every name under which a command of ours writes anything
NAMES = [
    "record.json",
    "train.log",
    "multirun.yaml",
    ".hydra/config.yaml",
    ".hydra/overrides.yaml",
    ".hydra/hydra.yaml",
    "config.yaml",
    "checkpoints/epoch-00001.npz",
    "checkpoints/epoch-00009.npz",
    "checkpoints/weights.npz",
    "checkpoints/.epoch-00001.npz.x.partial",
    ".record.json.x.partial",
    "tensorboard/events",
    "profile/trace.json",
    "index.html",
    "runs.csv",
    "runs.parquet",
    ".mnist-gpu.sha256",
    "manifest.json",
    "bootstrap.py",
    "README.md",
    "0-cpu-torch-seed0/record.json",
    "notes.txt",
    "deep/er/notes.txt",
]


def fill(folder: Path) -> Path:
    for name in NAMES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{name} is mine\r\n".encode())
    return folder


def content(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def write(folder: Path, seed: int = 0) -> str:
    path = folder / f"{seed}" / "record.json"
    files.write_whole(path, make_record(seed=seed).model_dump_json().encode())
    return str(folder)
