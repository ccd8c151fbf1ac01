"""The one place that knows which array library Keras runs on: compilation, devices, complex Fourier transforms."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import keras
from keras import ops

from analysis.core.files import BorderError


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


def fit_through_xla() -> bool:
    """Whether `fit` compiles by XLA: with JAX always, with TensorFlow on a GPU; on a CPU its own kernels are faster."""
    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def share_devices(batches: Sequence[int]) -> int:
    """Split every batch over all GPUs, or whatever devices JAX has; with TensorFlow, and with one, there is one.

    Parameters
    ----------
    batches : sizes that occur

    Returns
    -------
    int
        number of devices

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
    """What computes: the GPUs that Keras uses, else the cores of this process and their kind."""
    names = []
    if keras.backend.backend() == "jax":
        import jax

        names = [device.device_kind for device in jax.devices() if device.platform == "gpu"]
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")[:1]  # `share_devices`: one is used
        names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    if names:
        return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    described = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", described, re.MULTILINE)
    return f"{cores} cores, {found[1] if found else platform.machine()}"


def device_use() -> list[str]:
    """Memory that this process has used of each GPU, and how busy it is; nothing where there is none."""
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
        asked = ["nvidia-smi", "--query-gpu=index,utilization.gpu,memory.used", "--format=csv,noheader"]
        with suppress(subprocess.TimeoutExpired):  # a driver that hangs must not hang the training
            lines += subprocess.run(asked, capture_output=True, text=True, check=False, timeout=10).stdout.splitlines()
    return lines


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
