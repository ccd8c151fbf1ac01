"""The one place that knows which array library Keras runs on: compilation and complex Fourier transforms."""

from collections.abc import Callable

import keras
from keras import ops


def compiled(function: Callable) -> Callable:
    """`function` of tensors, compiled by the active Keras backend.

    TensorFlow's graph mode without XLA is the faster of its two on a CPU; JAX always goes through XLA.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    raise ValueError(
        f"the Keras backend is {keras.backend.backend()!r}, which is neither tensorflow nor jax;"
        " set the environment variable KERAS_BACKEND to one of them"
    )


def fourier(real, imag=None):
    """Orthonormal 2-D Fourier transform over the last two axes.

    Parameters
    ----------
    real, imag : (..., ny, nx)
        Real and imaginary part; `imag` is zero where it is left out.

    Returns
    -------
    (real, imag) : (..., ny, nx) each
    """
    norm = _norm(real)
    real, imag = ops.fft2((real, ops.zeros_like(real) if imag is None else imag))
    return real / norm, imag / norm


def inverse_fourier(real, imag):
    """Inverse of `fourier`: the real and the imaginary part of the map."""
    norm = _norm(real)
    real, imag = ops.ifft2((real, imag))
    return real * norm, imag * norm


def filtered(maps, multiplier):
    """Maps multiplied in Fourier space by a real `multiplier` (..., ny, nx), symmetric under k -> -k."""
    real, imag = fourier(maps)
    return inverse_fourier(real * multiplier, imag * multiplier)[0]


def _norm(maps) -> float:
    """Square root of the number of pixels, which makes a transform orthonormal."""
    return float(maps.shape[-1] * maps.shape[-2]) ** 0.5
