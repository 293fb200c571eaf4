"""The models that ship with the project, by name."""

from mnist_gpu.errors import UserError
from mnist_gpu.paths import choices, shipped
from mnist_gpu.protocol.network import Network


def named_network(name: str, dropout: bool = True) -> Network:
    """Read the network `name` from `conf/model/<name>.yaml`, without Hydra.

    Args:
        name: `cnn` (the standard one), `mlp` or `lenet5`.
        dropout: False turns every rate to 0.

    Raises:
        UserError: there is no such model; the message names those there are.
    """
    known = choices("model")
    if name not in known:
        raise UserError(f"model={name}: choose from {', '.join(known)}")
    return Network.from_config(name, shipped(f"model/{name}")["layers"], dropout)
