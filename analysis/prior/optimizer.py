"""The optimiser of the training: Muon for the kernels of convolutions, Adam for all other weights.

Adam scales each weight on its own. Muon makes the update of a kernel, seen as a matrix, nearly orthogonal, so that rare
directions are learnt as fast as common ones.
"""

import math

import keras
from keras import ops

from analysis.params import TrainParams

UPDATE_RMS = 0.6  # of the update of a kernel over the learning rate: chosen on validation maps, from .2 to 2
SMALLEST = 8  # channels of a kernel, in or out, for which a matrix has directions enough


class KernelMuon(keras.optimizers.Muon):
    """Muon for four-dimensional kernels, as matrices with one row for each input of an output channel.

    Keras' own Muon leaves kernels of convolutions to Adam.

    Source: Jordan et al. 2024; Liu et al. 2025 (arXiv:2502.16982) for an update of the size of Adam's.
    """

    def _should_use_adamw(self, variable) -> bool:
        return len(variable.shape) != 4 or min(variable.shape[-2:]) < SMALLEST

    def zeropower_via_newtonschulz5(self, x, steps: int):
        """The orthogonal part of a kernel."""
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        return ops.reshape(super().zeropower_via_newtonschulz5(matrix, steps), x.shape)

    def lr_adjust(self, x):
        """The update at its size: entries of an orthogonal matrix have an rms of 1 / sqrt(larger side)."""
        return x * (UPDATE_RMS * max(math.prod(x.shape[:-1]), x.shape[-1]) ** 0.5)


def training_optimizer(params: TrainParams) -> keras.optimizers.Optimizer:
    """The optimiser of a training, with warm-up, cosine decay, clipped gradients and an average of the weights."""
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        params.epochs * params.steps_per_epoch,
        warmup_target=params.learning_rate,
        warmup_steps=min(200, params.steps_per_epoch),
    )
    common = {"global_clipnorm": 1.0, "use_ema": True, "ema_momentum": params.ema_momentum}
    if params.optimizer == "adam":
        return keras.optimizers.Adam(rate, **common)
    return KernelMuon(rate, weight_decay=None, adam_weight_decay=None, **common)
