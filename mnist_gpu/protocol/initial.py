"""Initial weights, drawn once in NumPy and loaded into every framework."""

import numpy as np
import numpy.typing as npt

from mnist_gpu.protocol.network import Network
from mnist_gpu.protocol.streams import uniform


def initial_weights(network: Network, seed: int) -> dict[str, npt.NDArray[np.float32]]:
    """Draw every parameter from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), rounded to float32.

    That is PyTorch's default for `Conv2d` and `Linear`, weights (`kaiming_uniform_(a=sqrt(5))`) and
    biases alike. Keys are `<layer>.weight` and `<layer>.bias`; shapes are PyTorch's. The numbers
    are the same on every machine and NumPy version.
    """
    weights = {}
    for number, (name, shape, fan_in) in enumerate(network.parameters()):
        drawn = uniform("weights", seed, number, int(np.prod(shape)))
        bound = 1.0 / np.sqrt(fan_in)
        weights[name] = ((2.0 * drawn - 1.0) * bound).astype(np.float32).reshape(shape)
    return weights
