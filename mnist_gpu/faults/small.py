"""A data set of drawn digits, small enough to kill a run on it fifty times."""

from pathlib import Path

from mnist_gpu.data import idx, synthetic
from mnist_gpu.files import write_whole

TRAIN, TEST = 6400, 640


def write(folder: Path, train: int = TRAIN, test: int = TEST) -> list[str]:
    """Write four IDX files to `folder`; return the overrides that train on them."""
    drawn = synthetic.draw(0, train, test)
    for name, array in {
        "train-images-idx3-ubyte": drawn.train_images,
        "train-labels-idx1-ubyte": drawn.train_labels,
        "t10k-images-idx3-ubyte": drawn.test_images,
        "t10k-labels-idx1-ubyte": drawn.test_labels,
    }.items():
        write_whole(folder / name, idx.header(array) + array.tobytes())
    return ["data=mnist", f"data.dir={folder}", "data.custom=true"]
