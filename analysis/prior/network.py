"""The residual U-Net: maps and a noise level in, a map out. It contains no lensing.

Residual blocks at several scales, with average pooling down, nearest-neighbour upsampling back, and skip connections
between. The noise level scales and shifts the channels of each block. The last convolution starts at zero, so a new
network returns zero. It is fully convolutional: the sides of a map must only be divisible by two for each scale.
"""

import math

import keras
from keras import layers

from analysis.params import NetworkParams, Precision


def build_network(
    params: NetworkParams, precision: Precision = "float32", *, inputs: int = 3, outputs: int = 1
) -> keras.Model:
    """A new network.

    Parameters
    ----------
    params : `widths` (channels at full resolution, at half of it, and so on), residual `blocks` a scale, `skips` (sum,
        or the paper's concatenation), `conditioning` (scale and shift of every block's channels, or the noise level
        as one more channel of the input), `normalisation` (none, batch or group) and `spectral_norm` (kernels of unit
        norm, but for the last convolution)
    precision : of its layers; weights and output are always float32
    inputs, outputs : number of maps in and out

    Returns
    -------
    keras.Model
        (maps (n, ny, nx, inputs), noise (n, 1)) -> (n, ny, nx, outputs); `noise` is a number of order one that grows
        with the logarithm of the noise level.

    Source: Remy et al. 2020, section 3; Ho et al. 2020 for the conditioning.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        return _built(params, inputs, outputs)
    finally:
        keras.config.set_dtype_policy(before)


def _built(params: NetworkParams, inputs: int, outputs: int) -> keras.Model:
    """A network whose layers compute in Keras' current precision."""
    convolution, block = _building_blocks(params)
    maps = keras.Input((None, None, inputs), name="maps")
    noise = keras.Input((1,), name="noise")
    level = layers.Dense(64, activation="swish")(noise)
    level = layers.Dense(64, activation="swish")(level)

    widths = params.widths
    joined = layers.Add if params.skips == "sum" else layers.Concatenate
    x = maps
    if params.conditioning == "channel":
        x = layers.Concatenate()([maps, 0.0 * maps[..., :1] + layers.Reshape((1, 1, 1))(noise)])
    x = convolution(widths[0], 3)(x)
    skips = []
    for width in widths[:-1]:
        for _ in range(params.blocks):
            x = block(x, level, width)
        skips.append(x)
        x = layers.AveragePooling2D(2)(x)
    for _ in range(params.blocks):
        x = block(x, level, widths[-1])
    for width, skip in zip(reversed(widths[:-1]), reversed(skips), strict=True):
        x = layers.UpSampling2D(2, interpolation="nearest")(
            convolution(width, 1)(x)
        )  # fewer channels, then more pixels
        x = joined()([x, skip])
        for _ in range(params.blocks):
            x = block(x, level, width)
    out = layers.Conv2D(outputs, 3, padding="same", kernel_initializer="zeros", dtype="float32")(
        layers.Activation("swish")(x)
    )
    return keras.Model([maps, noise], out, name="residual_unet")


def _building_blocks(params: NetworkParams):
    """The convolution and the residual block of the settings."""

    def convolution(width: int, size: int):
        layer = layers.Conv2D(width, size, padding="same", kernel_initializer="he_normal")
        return layers.SpectralNormalization(layer) if params.spectral_norm else layer

    def normalised(x):
        if params.normalisation == "batch":
            return layers.BatchNormalization()(x)
        if params.normalisation == "group":
            return layers.GroupNormalization(math.gcd(8, x.shape[-1]))(x)
        return x

    def block(x, level, width: int):
        shortcut = x if x.shape[-1] == width else convolution(width, 1)(x)
        y = convolution(width, 3)(layers.Activation("swish")(normalised(x)))
        y = normalised(y)
        if params.conditioning == "scale_shift":
            scale_shift = layers.Reshape((1, 1, 2 * width))(layers.Dense(2 * width, kernel_initializer="zeros")(level))
            scale, shift = scale_shift[..., :width], scale_shift[..., width:]
            y = y * (1.0 + scale) + shift
        y = convolution(width, 3)(layers.Activation("swish")(y))
        # halving the variance of a sum of two keeps a deep stack of blocks of order one
        return (shortcut + y) * 0.5**0.5

    return convolution, block
