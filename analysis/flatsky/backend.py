"""Numerical tools on Keras tensors: compilation, devices, Fourier transforms, conjugate gradients.

Only this module knows whether Keras runs on TensorFlow or on JAX.
"""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
from keras import ops

from analysis.core.files import BorderError


def compiled(function: Callable) -> Callable:
    """`function` of tensors, compiled by the active Keras backend.

    On a CPU, TensorFlow's graph mode is faster without XLA than with it. JAX always uses XLA. No code is translated for
    TensorFlow (AutoGraph, which takes seconds): a branch or a loop over values of tensors is one of `keras.ops`.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    raise ValueError(
        f"the Keras backend is {keras.backend.backend()!r}, which is neither tensorflow nor jax;"
        " set the environment variable KERAS_BACKEND to one of them"
    )


def pulled_back(function: Callable, x, cotangent: Callable):
    """A function at x, and the transpose of its derivative there applied to `cotangent` of that value.

    Parameters
    ----------
    function : of a tensor, with values of its shape
    cotangent : (function(x)) -> a tensor of the same shape, taken as a constant

    Returns
    -------
    function(x), J^T cotangent(function(x))
    """
    x = ops.convert_to_tensor(x)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        return value, tape.gradient(value, x, output_gradients=cotangent(value))
    import jax

    value, transpose = jax.vjp(function, x)
    return value, transpose(cotangent(value))[0]


def split_cores(parts: int) -> None:
    """Let independent parts of a graph run side by side, each on its share of the cores.

    Small maps keep few cores busy: two halves of a batch side by side take three quarters of the time that they take
    one after the other on all cores. To be called before the first operation, and only with TensorFlow on a CPU, where
    it has an effect.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if not tf.config.list_physical_devices("GPU"):
            cores = _cores()
            tf.config.threading.set_inter_op_parallelism_threads(min(parts, cores))
            tf.config.threading.set_intra_op_parallelism_threads(max(1, cores // parts))


def fit_through_xla() -> bool:
    """Whether `fit` should compile with XLA: always with JAX, with TensorFlow only on a GPU."""
    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def share_devices(batches: Sequence[int]) -> int:
    """Number of devices that share each batch: all that JAX has, or 1 with TensorFlow.

    Parameters
    ----------
    batches : batch sizes that occur

    Raises
    ------
    BorderError
        If a batch cannot be split evenly.
    """
    if keras.backend.backend() != "jax":
        return 1
    devices = keras.distribution.list_devices()
    for batch in batches:
        if batch % len(devices):
            raise BorderError(
                f"{len(devices)} devices cannot share batches of {' and '.join(map(str, batches))} crops: make"
                f" train.batch a multiple of {len(devices)}, or hide devices (CUDA_VISIBLE_DEVICES)"
            )
    if len(devices) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    return len(devices)


def hardware() -> str:
    """Description of the hardware in use: the GPUs that Keras uses, or else the CPU and its number of cores."""
    names = []
    if keras.backend.backend() == "jax":
        import jax

        names = [device.device_kind for device in jax.devices() if device.platform == "gpu"]
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")[:1]  # TensorFlow uses one, see `share_devices`
        names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    if names:
        return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    described = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", described, re.MULTILINE)
    return f"{_cores()} cores, {found[1] if found else platform.machine()}"


def _cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_use() -> list[str]:
    """One line for each GPU: peak memory of this process, and the load. Empty without a GPU."""
    lines = []
    if keras.backend.backend() == "jax":
        import jax

        for device in jax.devices():
            found = device.memory_stats() if device.platform == "gpu" else None
            if found:
                lines.append(f"{device}: {found['peak_bytes_in_use'] / 1e9:.1f} GB at most")
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for device in tf.config.list_logical_devices("GPU"):
            lines.append(f"{device.name}: {tf.config.experimental.get_memory_info(device.name)['peak'] / 1e9:.1f} GB")
    if lines and shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=index,utilization.gpu,memory.used", "--format=csv,noheader"]
        with suppress(subprocess.TimeoutExpired):  # a driver that hangs must not hang the training
            lines += subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=10
            ).stdout.splitlines()
    return lines


def fourier(maps):
    """Orthonormal 2-D Fourier transform of real maps, the half of it that the other half repeats.

    Parameters
    ----------
    maps : (..., ny, nx)

    Returns
    -------
    (..., ny, nx // 2 + 1), complex
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        maps = ops.convert_to_tensor(maps)  # in its own precision
        return tf.signal.rfft2d(maps) / _norm(maps.shape)
    import jax.numpy as jnp

    return jnp.fft.rfft2(maps, norm="ortho")


def inverse_fourier(modes, shape: tuple[int, int]):
    """Real maps of a `shape` (ny, nx) whose transform is `modes`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.signal.irfft2d(modes, shape) * _norm(shape)
    import jax.numpy as jnp

    return jnp.fft.irfft2(modes, shape, norm="ortho")


def multiplied(modes, multiplier):
    """Half of the modes, as of `fourier`, times a real `multiplier` (..., ny, nx), symmetric under k -> -k."""
    return modes * ops.cast(multiplier[..., : modes.shape[-1]], ops.dtype(modes))


def filtered(maps, multiplier):
    """Maps multiplied in Fourier space by a real `multiplier` (..., ny, nx), symmetric under k -> -k."""
    return inverse_fourier(multiplied(fourier(maps), multiplier), maps.shape[-2:])


def _norm(shape) -> float:
    """Square root of the number of pixels, which makes a transform orthonormal."""
    return float(shape[-1] * shape[-2]) ** 0.5


def conjugate_gradients(operator: Callable, preconditioner: Callable, target, *, iterations: int, tolerance=0.0):
    """Solution x of operator(x) = target, for each map of a batch separately.

    Parameters
    ----------
    operator, preconditioner : symmetric and positive on maps (n, ny, nx)
    target : (n, ny, nx)
    iterations : largest number of steps
    tolerance : stop when every residual is below this fraction of its target (in the preconditioner's norm)

    Source: Hestenes & Stiefel 1952.
    """
    state = first_state(preconditioner, target)
    return more_steps(operator, preconditioner, state, state[-1], iterations=iterations, tolerance=tolerance)[0]


def first_state(preconditioner: Callable, target):
    """State of conjugate gradients at the start: x = 0, its residual, the direction, the squared residual norm."""
    z = preconditioner(target)
    return ops.zeros_like(target), target, z, _dot(target, z)


def more_steps(operator: Callable, preconditioner: Callable, state, start, *, iterations: int, tolerance: float):
    """State after `iterations` more steps of conjugate gradients, or fewer once `tolerance` is met.

    `start` : squared norm of the first residual
    """
    tiny = np.finfo(ops.dtype(start)).tiny

    def unfinished(x, residual, direction, rz):
        return ops.any(rz > tolerance**2 * start)

    def step(x, residual, direction, rz):
        product = operator(direction)
        length = rz / ops.maximum(_dot(direction, product), tiny)
        residual = residual - length * product
        z = preconditioner(residual)
        rz_new = _dot(residual, z)
        return x + length * direction, residual, z + rz_new / ops.maximum(rz, tiny) * direction, rz_new

    return ops.while_loop(unfinished, step, state, maximum_iterations=iterations)


def _dot(a, b):
    """Inner product of each pair of maps, (n, 1, 1)."""
    return ops.sum(a * b, axis=(-2, -1), keepdims=True)
