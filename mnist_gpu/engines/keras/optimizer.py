"""PyTorch's Adam in Keras: epsilon outside the corrected root."""

from typing import Any

import keras
from keras import ops
from typing_extensions import override

EPSILON = 1e-8


class Adam(keras.optimizers.Adam):
    """Keras' Adam has "epsilon hat" (Kingma & Ba, end of section 2); an epsilon that shrinks with
    the bias correction makes it algorithm 1.

    Args:
        learning_rate: alpha.
    """

    def __init__(self, learning_rate: float) -> None:
        super().__init__(learning_rate=learning_rate, beta_1=0.9, beta_2=0.999, epsilon=EPSILON)

    @override
    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        dtype = variable.dtype
        step = ops.cast(self.iterations + 1, dtype)
        # `ops.cast` of a Python number goes through float32
        beta_1 = ops.convert_to_tensor(self.beta_1, dtype)
        beta_2 = ops.convert_to_tensor(self.beta_2, dtype)
        root_2 = ops.sqrt(1 - ops.power(beta_2, step))
        rate = ops.cast(learning_rate, dtype) * root_2 / (1 - ops.power(beta_1, step))
        epsilon = EPSILON * root_2
        number = self._get_variable_index(variable)
        m, v = self._momentums[number], self._velocities[number]
        if keras.backend.backend() == "tensorflow":
            _fused(variable, m, v, ops.cast(gradient, dtype), rate, beta_1, beta_2, epsilon)
            return
        gradient = ops.cast(gradient, dtype)
        self.assign_add(m, (gradient - m) * (1 - beta_1))
        self.assign_add(v, (ops.square(gradient) - v) * (1 - beta_2))
        self.assign_sub(variable, m * rate / (ops.sqrt(v) + epsilon))


def _fused(
    variable: Any, m: Any, v: Any, gradient: Any, rate: Any, beta_1: Any, beta_2: Any, epsilon: Any
) -> None:
    """TensorFlow's kernel for the same; its own bias correction is switched off by zero powers."""
    import tensorflow as tf

    def handle(held: Any) -> Any:
        return (held if isinstance(held, tf.Variable) else held.value).handle

    nothing = tf.zeros((), rate.dtype)
    tf.raw_ops.ResourceApplyAdam(
        var=handle(variable),
        m=handle(m),
        v=handle(v),
        beta1_power=nothing,
        beta2_power=nothing,
        lr=rate,
        beta1=beta_1,
        beta2=beta_2,
        epsilon=epsilon,
        grad=gradient,
    )
