"""`params.yaml` as frozen, validated records: one dataclass a section, the stage's own name.

A key that is unknown, missing or out of range raises `ParamsError`, one sentence that names it.
"""

import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from analysis.files import BorderError

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"

record = dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class ParamsError(BorderError):
    """A value of `params.yaml` that cannot be used: names the key, the value and the rule."""


@record
class GridParams:
    """The square pixel grid of every map: pixels a side and arcmin a pixel."""

    pixels: Annotated[int, Field(ge=16)]
    pixel_arcmin: Positive
    projection: Literal["TAN", "CAR"] = "TAN"


@record
class ColumnFiles:
    """A shear catalogue with one FITS file a column, as paths below the data mirror."""

    ra: str
    dec: str
    e1: str
    e2: str
    weight: str


@record
class GriddedShear:
    """Shear that is already on the grid: images below the data mirror, and the noise of a pixel."""

    shear: str
    mask: str
    truth: str
    sigma: Positive


@record
class FieldParams:
    """A field of the sky: where its galaxies come from and where it lies."""

    title: str
    center_deg: Annotated[list[float], Field(min_length=2, max_length=2)]
    catalogue: ColumnFiles | None = None
    gridded: GriddedShear | None = None
    rows: Count | None = None
    clusters: str | None = None

    @model_validator(mode="after")
    def one_source(self) -> "FieldParams":
        """A field comes from a catalogue or from gridded shear."""
        if (self.catalogue is None) == (self.gridded is None):
            raise ValueError("give either `catalogue` or `gridded`, not both and not neither")
        return self


@record
class TheoryParams:
    """Cosmology (flat, massless neutrinos) and source redshifts of the theory spectrum."""

    h: Positive
    omega_m: Positive
    omega_b: Positive
    a_s: Positive
    n_s: Positive
    source_redshift: Positive | None
    source_distribution: str | None
    ell_max: Annotated[int, Field(ge=1000)]

    @model_validator(mode="after")
    def one_source(self) -> "TheoryParams":
        """Sources lie on one plane or follow a distribution."""
        if (self.source_redshift is None) == (self.source_distribution is None):
            raise ValueError("set either source_redshift or source_distribution and make the other null")
        return self


@record
class SimulationsParams:
    """N-body boxes, and the light-cone maps made from them."""

    source: Literal["nbody"]
    boxes_train: Count
    boxes_validation: Count
    boxes_test: Count
    maps_per_box: Count
    map_pixels: Annotated[int, Field(ge=16)]
    box_mpc_h: Positive
    particles: Annotated[int, Field(ge=16)]
    mesh: Annotated[int, Field(ge=16)]
    steps: Annotated[int, Field(ge=4)]
    start_redshift: Positive
    candidates: Count
    plane_pixels: Annotated[int, Field(ge=16)]
    join_ell: Annotated[list[Positive], Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def resolved(self) -> "SimulationsParams":
        """The force mesh is no coarser than the particles, and the join goes upward."""
        if self.mesh < self.particles:
            raise ValueError(f"mesh is {self.mesh}, less than particles ({self.particles}): forces would be too coarse")
        if self.join_ell[0] >= self.join_ell[1]:
            raise ValueError(f"join_ell is {self.join_ell}: give the lower multipole first")
        return self


@record
class CatalogueParams:
    """Which entries of `fields` are put on the grid."""

    fields: Annotated[list[str], Field(min_length=1)]


@record
class MocksParams:
    """Mock observations: how many, and the field whose mask and noise they copy."""

    field: str
    validation: Count
    test: Annotated[int, Field(ge=2)]


@record
class NetworkParams:
    """The residual U-Net: channels from full resolution downwards, residual blocks a scale, and the paper's guards."""

    widths: Annotated[list[Count], Field(min_length=2)]
    blocks: Count
    skips: Literal["sum", "concatenate"]
    normalisation: Literal["none", "batch", "group"]
    spectral_norm: bool

    @property
    def scales(self) -> int:
        """How often the network halves a map."""
        return len(self.widths) - 1


@record
class TrainParams:
    """Denoising score matching of the network."""

    input: str
    epochs: Count
    steps_per_epoch: Count
    batch: Count
    learning_rate: Positive
    sigma_min: Positive
    sigma_max: Positive
    ema_momentum: Annotated[float, Field(ge=0, lt=1)]
    gate_sigma: Positive
    margin: Annotated[int, Field(ge=0)]
    network: NetworkParams

    @model_validator(mode="after")
    def noise_range(self) -> "TrainParams":
        """Noise levels of the training span a range."""
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min is {self.sigma_min}, which is not below sigma_max ({self.sigma_max})")
        return self


@record
class RunParams:
    """One posterior to sample: its observation, its chains, and how it departs from the plain run."""

    observation: str
    chains: Annotated[int, Field(ge=2)]
    rotate_deg: float = 0.0
    prior: Literal["network", "gaussian"] = "network"


@record
class SampleParams:
    """Annealed HMC: the runs, the ladder of noise levels and the trajectory at each."""

    fields: Annotated[dict[str, RunParams], Field(min_length=1)]
    sigma_start: Positive
    sigma_end: Positive
    ladder_ratio: Annotated[float, Field(gt=0, lt=1)]
    trajectories: Count
    leapfrog_steps: Annotated[int, Field(ge=2, multiple_of=2)]
    step: Positive
    sigma_final: Positive
    ode_steps: Count
    solver_iterations: Count
    diffused_levels: Count

    @model_validator(mode="after")
    def downward(self) -> "SampleParams":
        """The ladder leads downward, and some of it is left to the annealed posterior."""
        if not self.sigma_final < self.sigma_end < self.sigma_start:
            raise ValueError(
                f"noise levels must fall, but sigma_start, sigma_end, sigma_final are {self.sigma_start},"
                f" {self.sigma_end}, {self.sigma_final}"
            )
        levels = 1 + max(1, round(np.log(self.sigma_end / self.sigma_start) / np.log(self.ladder_ratio)))
        if self.diffused_levels >= levels:
            raise ValueError(f"diffused_levels is {self.diffused_levels}, but the ladder has only {levels} levels")
        return self


@record
class BaselinesParams:
    """Kaiser-Squires smoothing scales to try, and Gaussian realisations to draw."""

    smoothing_arcmin: Annotated[list[Positive], Field(min_length=1)]
    realisations: Annotated[int, Field(ge=2)]


@record
class ValidateParams:
    """Chains a mock, unconditional samples, and the redshift up to which clusters are stacked."""

    chains: Annotated[int, Field(ge=2)]
    prior_samples: Annotated[int, Field(ge=2)]
    cluster_redshift_max: Positive


@record
class FiguresParams:
    """Colours, which clusters are marked (mass in 1e13 solar masses), and when a sample shows a cluster."""

    colormap: str
    cluster_redshift_max: Positive
    cluster_mass_min: Positive
    cutout_arcmin: Positive
    peak_radius_arcmin: Positive
    peak_threshold: Positive


@record
class ComputeParams:
    """Processes for work that is split by box; null takes every core."""

    processes: Count | None


@record
class Params:
    """All of `params.yaml`."""

    profile: str
    seed: Annotated[int, Field(ge=0)]
    grid: GridParams
    fields: dict[str, FieldParams]
    theory: TheoryParams
    simulations: SimulationsParams
    catalogue: CatalogueParams
    mocks: MocksParams
    train: TrainParams
    sample: SampleParams
    baselines: BaselinesParams
    validate: ValidateParams
    figures: FiguresParams
    compute: ComputeParams

    @model_validator(mode="after")
    def consistent(self) -> "Params":
        """Rules that hold between sections."""
        for name in self.catalogue.fields:
            if name not in self.fields:
                raise ValueError(f"catalogue.fields names {name!r}, which has no entry under fields")
        if self.mocks.field not in self.catalogue.fields:
            raise ValueError(f"mocks.field is {self.mocks.field!r}, which is not one of catalogue.fields")
        if self.simulations.map_pixels < self.grid.pixels:
            raise ValueError(
                f"simulations.map_pixels is {self.simulations.map_pixels}, which is less than grid.pixels"
                f" ({self.grid.pixels}): maps must cover the grid"
            )
        if 2 * self.train.margin >= self.grid.pixels:
            raise ValueError(
                f"train.margin is {self.train.margin}, which leaves nothing of a grid of {self.grid.pixels} pixels"
            )
        if self.sample.sigma_final < self.train.sigma_min or self.sample.sigma_start > self.train.sigma_max:
            raise ValueError(
                f"sample.sigma_start and sigma_final are {self.sample.sigma_start} and {self.sample.sigma_final}, not"
                f" within train.sigma_max and sigma_min, {self.train.sigma_max} and {self.train.sigma_min}"
            )
        if self.grid.pixels % 2**self.train.network.scales:
            raise ValueError(
                f"grid.pixels is {self.grid.pixels}, which a network of {self.train.network.scales + 1}"
                f" train.network.widths cannot halve: give a multiple of {2**self.train.network.scales}"
            )
        return self


def load_params(path: str | Path = ROOT / "params.yaml") -> Params:
    """Every section of `path`, checked.

    Raises
    ------
    ParamsError
        One sentence that names the file, the key, the value and the rule.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ParamsError(f"{path} cannot be read as YAML ({' '.join(str(error).split())})") from None
    try:
        # through JSON, where strict types still let a mapping stand for a record
        return TypeAdapter(Params).validate_json(json.dumps(content))
    except ValidationError as error:
        raise ParamsError(_sentence(path, error)) from None


def _sentence(path: str | Path, error: ValidationError) -> str:
    """The first fault pydantic found, as one sentence."""
    faults = error.errors()
    # a misspelt key is also a missing one; naming what was written helps more than what was not
    fault = next((f for f in faults if f["type"] == "unexpected_keyword_argument"), faults[0])
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "unexpected_keyword_argument":
        return f"{path}: {key} is not a key of this section; the committed params.yaml has every key"
    if fault["type"] == "missing":
        return f"{path}: {key} is missing; add it (the committed params.yaml has every key)"
    reason = fault["msg"].removeprefix("Value error, ")
    value = "" if isinstance(fault["input"], dict) else f" is {fault['input']!r}"
    subject = f"{key}{value}: " if key else ""  # a rule between sections names its keys itself
    return f"{path}: {subject}{reason[0].lower()}{reason[1:]}"


def stage_rng(seed: int, *names: str) -> np.random.Generator:
    """A random generator for each stage, or part of one, independent and from the one seed."""
    words = [seed, *("/".join(names)).encode()]
    return np.random.default_rng(np.random.SeedSequence(words))
