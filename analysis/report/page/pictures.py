"""The paper's figures as the page shows them: smaller, with a caption, and with where they come from."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL.Image

from analysis.report.page.origin import Origin, commit_of, origin_of

WIDTH = 1500  # pixels, twice what a laptop shows of a figure
QUALITY = 82  # of WebP

CAPTIONS = {  # name: caption, which is the picture's description too, and the files that it was drawn from
    "figure2_cosmos": (
        "COSMOS, all galaxies: Kaiser-Squires map, one posterior sample and the posterior mean, with X-ray clusters"
        " and their redshifts; below, one cluster in six samples.",
        ("data/samples/cosmos.fits", "data/baselines/cosmos.fits", "data/observation/cosmos_clusters.ecsv"),
    ),
    "figure2_cosmos_bright": (
        "COSMOS, bright galaxies, as in the original paper: Kaiser-Squires map, one posterior sample and the posterior"
        " mean, with X-ray clusters and their redshifts; below, one cluster in six samples.",
        (
            "data/samples/cosmos_bright.fits",
            "data/baselines/cosmos_bright.fits",
            "data/observation/cosmos_bright_clusters.ecsv",
        ),
    ),
    "clusters": (
        "Share of samples that show each X-ray cluster, by its mass, and halos of known mass put into mocks, by the"
        " signal to noise of their aperture mass; and on mocks the share of true peaks among places found blind,"
        " against the probability that samples say.",
        (
            "data/clusters/results/cosmos_clusters.ecsv",
            "data/clusters/results/injection.ecsv",
            "data/validation/metrics.json",
        ),
    ),
    "figure1_mock": (
        "A mock, whose truth is known: truth, mask, Kaiser-Squires map and posterior median; below, four posterior"
        " samples.",
        ("data/mocks/test_00.fits", "data/samples/mock.fits", "data/baselines/mock.fits"),
    ),
    "posterior_std": (
        "Standard deviation of the posterior of COSMOS, with the network and with the Gaussian prior alone.",
        ("data/samples/cosmos.fits", "data/baselines/cosmos.fits"),
    ),
    "power_spectra": (
        "Power spectra of the mock's truth, posterior mean, Wiener map and samples; and the power of samples over"
        " that of true maps, by multipole.",
        ("data/samples/mock.fits", "data/mocks/test_00.fits", "data/validation/metrics.json"),
    ),
    "information": (
        "Power of the convergence over that of the shape noise; and, on mocks, correlation of every method's maps with"
        " the truth, and their power, by multipole.",
        ("data/theory/c_ell.ecsv", "data/validation/metrics.json"),
    ),
    "calibration": (
        "Ranks of the truths of mocks among their posterior samples, statistic by statistic; expected coverage of the"
        " whole map (TARP); and the share of truths in 68 % intervals.",
        ("data/released/reference/calibration/metrics.json", "data/calibration/metrics.json"),
    ),
    "data": (
        "Galaxies a square arcminute of both samples of COSMOS, with X-ray clusters; and lensing efficiency by"
        " redshift, with the redshifts of the clusters.",
        ("data/observation/cosmos.fits", "data/observation/cosmos_bright.fits"),
    ),
    "denoiser": (
        "A held-out map, the same with noise of two levels, and what the Gaussian and the hybrid score make of it.",
        ("data/score/network.weights.h5", "data/simulations/test.npy"),
    ),
    "prior": (
        "Simulated maps that no training saw, and below them samples of the prior alone.",
        ("data/prior/samples.fits", "data/simulations/test.npy"),
    ),
    "annealing": (
        "One chain of COSMOS: its start, a draw of the Gaussian posterior, and where it is after ever lower noise.",
        ("data/samples/cosmos.fits",),
    ),
    "simulations": (
        "A simulated map, and power, skewness, one-point distribution, peaks and minima of the simulations beside"
        " theory and the public MassiveNuS map.",
        ("data/simulations/train.npy", "data/simulations/evidence.ecsv"),
    ),
    "training": (
        "Loss by epoch, and the error of denoising over the Gaussian score's by noise level, at the first epoch and"
        " the last.",
        ("data/score/history.csv",),
    ),
}


@dataclass(frozen=True)
class Picture:
    """A figure, embedded.

    Attributes
    ----------
    name : of the figure
    caption : which is its alternative text too
    address : `data:` URL
    width, height : pixels
    origin, commit : how the figure was made, and the commit that keeps it
    seconds : wall time of its stage, None where not measured
    sources : how the data that it shows were made
    """

    name: str
    caption: str
    address: str
    width: int
    height: int
    origin: Origin
    commit: str
    seconds: float | None
    sources: Sequence[Origin]


def figure_path(name: str, root: Path) -> str:
    """Path, from `root`, of a figure of the run in the tree, else of the released one."""
    made = f"figures/run/{name}.png"
    return made if (root / made).is_file() else f"figures/{name}.png"


def picture(name: str, stages: Mapping[str, Mapping], times: Mapping[str, Mapping], root: Path) -> Picture:
    """The figure `name` as WebP, with what the records `stages` and `times` say of it."""
    path = figure_path(name, root)
    content, width, height = _webp(root / path)
    caption, drawn_from = CAPTIONS[name]
    origin = origin_of(path, stages, root, made_as=f"figures/run/{name}.png")
    sources = [origin_of(source, stages, root) for source in drawn_from if (root / source).exists()]
    seconds = times.get(origin.stage.replace("@", "_"), {}).get("wall_s")
    address = f"data:image/webp;base64,{base64.b64encode(content).decode()}"
    return Picture(name, caption, address, width, height, origin, commit_of(root, path), seconds, sources)


def _webp(path: Path) -> tuple[bytes, int, int]:
    """A picture no wider than `WIDTH`, and its width and height in pixels."""
    content = io.BytesIO()
    with PIL.Image.open(path) as full:
        width = min(WIDTH, full.width)
        height = round(width * full.height / full.width)
        full.convert("RGB").resize((width, height), PIL.Image.Resampling.LANCZOS).save(content, "WEBP", quality=QUALITY)
    return content.getvalue(), width, height
