"""What one pass over a data set comes to."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Metrics:
    """Mean cross-entropy (nats) and accuracy (0..1) over the images of one pass."""

    loss: float
    accuracy: float

    @classmethod
    def of_logits(cls, logits: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> "Metrics":
        """Worked out in float64 from logits (n, 10) and labels (n,)."""
        wide = logits.astype(np.float64)
        top = wide.max(1, keepdims=True)
        log_sums = np.log(np.exp(wide - top).sum(1)) + top[:, 0]
        losses = log_sums - wide[np.arange(len(labels)), labels]
        return cls(float(losses.mean()), float((wide.argmax(1) == labels).mean()))
