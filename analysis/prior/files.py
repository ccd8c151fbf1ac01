"""A prior on disk: the weights of its network, its settings and its spectra, in a folder."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from analysis.core.files import BorderError, atomic, read_json, write_json
from analysis.flatsky.power import load_power, save_power
from analysis.params import NetworkParams, Precision
from analysis.prior.recalibration import recalibration_of
from analysis.prior.score import Prior, score_network
from analysis.prior.tiling import network_tiles


def save_prior(
    prior: Prior, settings: NetworkParams, folder: str | Path, *, crops: Mapping[int, np.ndarray] = MappingProxyType({})
) -> None:
    """Write a prior: `network.weights.h5`, its settings in `network.json` and the spectrum in `power.npy`.

    Parameters
    ----------
    crops : spectra of smaller grids, by their side in pixels, each in `power_<side>.npy`
    """
    folder, table = Path(folder), prior.recalibration
    record = {
        "network": asdict(settings),
        "pixel_arcmin": prior.pixel_arcmin,
        "gate_sigma": prior.gate_sigma,
        "margin": prior.margin,
        "local_variance": prior.gain,
        "skip": prior.skip,
        "noise_range": list(prior.noise_range),
        "highest": prior.highest,
        "recalibration": None if table is None else {name: rows.tolist() for name, rows in vars(table).items()},
        "theory": prior.theory,
    }
    write_json(folder / "network.json", record)
    save_power(prior.power, folder / "power.npy")
    for side, power in crops.items():
        save_power(power, folder / f"power_{side}.npy")
    with atomic(folder / "network.weights.h5") as temporary:
        prior.network.save_weights(temporary)


def load_prior(
    folder: str | Path, *, side: int | None = None, precision: Precision = "float32", tile_pixels: int | None = None
) -> Prior:
    """The prior that `save_prior` wrote.

    Parameters
    ----------
    side : of a smaller grid, pixels; by default the grid of the training
    precision : of the network's layers
    tile_pixels : side of the largest map that the network sees at once; None for any

    Raises
    ------
    BorderError
        If a file is missing or damaged, or of earlier code, or the weights do not fit the network described beside
        them, or the network cannot see a map window by window (`network_tiles`).
    """
    folder = Path(folder)
    record = read_json(folder / "network.json")
    try:
        if record.get("gain", False):
            raise ValueError("earlier code trained it: its second output is a gain, not the logarithm of a variance")
        settings = NetworkParams(**record["network"])
        gain = record.get("local_variance", False)  # networks of earlier releases have none
        network = score_network(settings, precision, gain=gain)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras only warns if weights are missing
            network.load_weights(folder / "network.weights.h5")
        prior = Prior(
            power=load_power(folder / ("power.npy" if side is None else f"power_{side}.npy")),
            pixel_arcmin=record["pixel_arcmin"],
            network=network,
            gate_sigma=record["gate_sigma"],
            margin=record["margin"],
            gain=gain,
            skip=record["skip"],
            noise_range=tuple(record["noise_range"]),
            highest=record["highest"],
            recalibration=recalibration_of(record.get("recalibration")),
            theory=record["theory"],
        )
    except (AttributeError, OSError, KeyError, TypeError, ValueError, UserWarning) as error:
        reason = " ".join(str(error).split())[:200]
        raise BorderError(
            f"the prior in {folder} cannot be used ({reason}); make it again with `dvc repro -f train`, or let"
            " sample.network name another"
        ) from error
    return prior if tile_pixels is None else replace(prior, tiles=network_tiles(settings, tile_pixels))
