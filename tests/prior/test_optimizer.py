"""The optimiser: an orthogonal update of known size for kernels of convolutions, Adam's for all other weights."""

import keras
import numpy as np
import pytest

from analysis.params import load_params
from analysis.prior.optimizer import UPDATE_RMS, KernelMuon, training_optimizer

RATE = 1e-3


def update(shape, seed=1):
    """Gradient of a weight, and its change in the first step."""
    gradient = np.random.default_rng(seed).standard_normal(shape).astype("float32")
    gradient *= np.geomspace(0.1, 1, shape[-1])  # directions of different strength
    weight = keras.Variable(np.zeros(shape, "float32"))
    KernelMuon(RATE, weight_decay=None, adam_weight_decay=None).apply([keras.ops.convert_to_tensor(gradient)], [weight])
    return gradient, np.asarray(weight)


@pytest.mark.parametrize("shape", [(3, 3, 8, 24), (3, 3, 48, 24), (1, 1, 16, 48)])
def test_a_kernel_moves_down_the_gradient_by_an_orthogonal_matrix_of_the_size_of_the_rate(shape):
    gradient, change = update(shape)
    matrix = change.reshape(-1, shape[-1])
    singular = np.linalg.svd(matrix, compute_uv=False)
    before = np.linalg.svd(gradient.reshape(matrix.shape), compute_uv=False)
    assert singular.max() / singular.min() < 2 < before.max() / before.min()  # the iteration stops at .7 to 1.2
    expected = UPDATE_RMS * RATE * max(matrix.shape) ** 0.5  # of an orthogonal matrix, entries of UPDATE_RMS x RATE
    assert np.median(singular) == pytest.approx(expected, rel=0.3)
    assert np.sum(gradient * change) < -0.5 * expected * before.sum()


@pytest.mark.parametrize("shape", [(3, 3, 3, 8), (3, 3, 8, 1), (64, 48), (24,)])
def test_all_other_weights_are_adams(shape):
    gradient, change = update(shape)
    np.testing.assert_allclose(change, -RATE * np.sign(gradient), rtol=0.1)  # but for epsilon


def test_adam_alone_can_be_chosen():
    params = load_params().train
    assert isinstance(training_optimizer(params), KernelMuon)
    changed = type(params)(**{**vars(params), "optimizer": "adam"})
    assert type(training_optimizer(changed)) is keras.optimizers.Adam
