"""A data set of drawn digits, small enough to kill a run on it fifty times."""

from pathlib import Path

from mnist_gpu.data import idx, mnist, synthetic
from mnist_gpu.files import write_whole


def write(folder: Path, train: int = 6400, test: int = 640) -> list[str]:
    """Write four IDX files to `folder`; return the overrides that train on them."""
    drawn = synthetic.draw(0, train, test)
    arrays = (drawn.train_images, drawn.train_labels, drawn.test_images, drawn.test_labels)
    for name, array in zip(mnist.PUBLISHED_SHA256, arrays, strict=True):
        write_whole(folder / name, idx.header(array) + array.tobytes())
    return ["data=mnist", f"data.dir={folder}", "data.custom=true"]
