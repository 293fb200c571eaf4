"""The models that ship with the project, by name."""

from typing import Any

from mnist_gpu.errors import UserError
from mnist_gpu.paths import conf_dir
from mnist_gpu.protocol.network import Network


def named_network(name: str, dropout: bool = True) -> Network:
    """Read the network `name` from `conf/model/<name>.yaml`, without Hydra.

    Args:
        name: `cnn` (the standard one), `mlp` or `lenet5`.
        dropout: False turns every rate to 0.

    Raises:
        UserError: there is no such model; the message names those there are.
    """
    return Network.from_config(name, _config(name)["layers"], dropout)


def _config(name: str) -> dict[str, Any]:
    import yaml

    folder = conf_dir() / "model"
    path = folder / f"{name}.yaml"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise UserError(f"model={name}: choose from {', '.join(known)}")
    config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return config
