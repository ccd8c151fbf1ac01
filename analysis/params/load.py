"""All sections together: the rules between them, reading them, and the random generators of their one seed."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.params.compute import ComputeParams
from analysis.params.inference import PriorParams, SampleParams
from analysis.params.judging import (
    BaselinesParams,
    BenchmarkParams,
    CalibrateParams,
    ClustersParams,
    FiguresParams,
    MethodParams,
    NullsParams,
    RivalsParams,
    ValidateParams,
)
from analysis.params.learning import TrainParams
from analysis.params.sky import CatalogueParams, FieldParams, GridParams, MocksParams
from analysis.params.types import ByName, Title, record
from analysis.params.universe import SimulationsParams, TheoryParams

LONGEST_SHOWN = 100  # characters of a value that is refused


class ParamsError(BorderError):
    """A value of `params.yaml` that cannot be used: names the key, the value and the rule."""


@record
class Params:
    """All of `params.yaml`."""

    profile: Title
    """name of the profile; it goes into every file"""
    seed: Annotated[int, Field(ge=0)]
    """of all random numbers but the training's"""
    grid: GridParams
    """pixels of every map"""
    fields: ByName[FieldParams]
    """fields of the sky, each by its name"""
    theory: TheoryParams
    """cosmology and sources"""
    simulations: SimulationsParams
    """maps that the prior learns from"""
    catalogue: CatalogueParams
    """stage: galaxies of a field on the grid"""
    nulls: NullsParams
    """stage: null tests of a field"""
    mocks: MocksParams
    """stage: true maps and what would be observed of them"""
    train: TrainParams
    """stage: the score network"""
    prior: PriorParams
    """stage: samples of the prior alone"""
    sample: SampleParams
    """stage: posterior samples"""
    baselines: BaselinesParams
    """stage: Kaiser-Squires, Wiener filter, Gaussian realisations"""
    rivals: RivalsParams
    """stage: sparse halos, and a network from data to map"""
    calibrate: CalibrateParams
    """stage: ranks of truths among posterior samples"""
    clusters: ClustersParams
    """stage: clusters in samples"""
    validate: ValidateParams
    """stage: accuracy on mocks, and all metrics"""
    benchmark: BenchmarkParams
    """stage outside the default run: what a sample costs"""
    method: MethodParams
    """stage: figures of the method"""
    figures: FiguresParams
    """stage: figures of the results"""
    compute: ComputeParams
    """where the work is done; no number depends on it"""

    @model_validator(mode="after")
    def consistent(self) -> "Params":
        """Rules that hold between sections."""
        for name in self.catalogue.fields:
            if name not in self.fields:
                raise ValueError(f"catalogue.fields names {name!r}, which has no entry under fields")
            sources = self.fields[name].sources
            if sources is not None and sources != self.theory.sources:
                given = json.dumps(asdict(sources)).replace('"', "")
                raise ValueError(
                    f"fields.{name}.sources is not theory.sources, and maps and network of a run have one source"
                    f" distribution; train a network of it with `dvc exp run -S sample.network=data/score"
                    f" -S 'theory.sources={given}'`"
                )
        if self.mocks.field not in self.catalogue.fields:
            raise ValueError(f"mocks.field is {self.mocks.field!r}, which is not one of catalogue.fields")
        for key in ("map_pixels", "mock_pixels"):
            if getattr(self.simulations, key) < self.grid.pixels:
                raise ValueError(
                    f"simulations.{key} is {getattr(self.simulations, key)}, which is less than grid.pixels"
                    f" ({self.grid.pixels}): maps must cover the grid"
                )
        if not 2 * self.train.margin < self.train.crop_pixels <= self.grid.pixels:
            raise ValueError(
                f"train.crop_pixels is {self.train.crop_pixels}, which is not more than two margins of"
                f" {self.train.margin} and at most grid.pixels ({self.grid.pixels})"
            )
        for name in self.nulls.positions:
            if name not in self.catalogue.fields:
                raise ValueError(f"nulls.positions names {name!r}, which is not one of catalogue.fields")
        for name in self.method.runs:
            if name not in self.sample.fields:
                raise ValueError(f"method.runs names {name!r}, which is no run of sample.fields")
        for name, control in self.clusters.controls.items():
            for run in (name, control):
                if run is not None and run not in self.sample.fields:
                    raise ValueError(f"clusters.controls names {run!r}, which is no run of sample.fields")
        if self.sample.sigma_final < self.train.sigma_min or self.sample.sigma_start > self.train.sigma_max:
            raise ValueError(
                f"sample.sigma_start and sigma_final are {self.sample.sigma_start} and {self.sample.sigma_final}, not"
                f" within train.sigma_max and sigma_min, {self.train.sigma_max} and {self.train.sigma_min}"
            )
        for key, pixels, section, network in (
            ("grid.pixels", self.grid.pixels, "train", self.train.network),
            ("train.crop_pixels", self.train.crop_pixels, "train", self.train.network),
            ("grid.pixels", self.grid.pixels, "rivals.deepmass", self.rivals.deepmass.network),
        ):
            if pixels % 2**network.scales:
                raise ValueError(
                    f"{key} is {pixels}, which a network of {network.scales + 1} {section}.network.widths cannot"
                    f" halve: give a multiple of {2**network.scales}"
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
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # a date that is none is a ValueError
        raise ParamsError(f"{path} cannot be read as YAML ({' '.join(str(error).split())})") from None
    return checked_params(content, path)


def checked_params(content: object, source: str | Path) -> Params:
    """Every section of what was read from `source`, as `load_params` gives them and with its errors."""
    try:
        text = json.dumps(content)
    except (TypeError, ValueError, RecursionError) as error:  # YAML also knows dates, sets and circles
        raise ParamsError(f"{source} holds more than numbers, text, lists and mappings ({error}); quote it") from None
    try:
        # through JSON, where strict types still let a mapping stand for a record
        return TypeAdapter(Params).validate_json(text)
    except ValidationError as error:
        raise ParamsError(" ".join(_sentence(source, error).split())) from None


def _sentence(path: str | Path, error: ValidationError) -> str:
    """The first fault pydantic found, as one sentence."""
    faults = error.errors()
    # a misspelt key is also a missing one; naming what was written helps more than what was not
    fault = next((f for f in faults if f["type"] == "unexpected_keyword_argument"), faults[0])
    # where a value has several forms, pydantic names the form as well
    key = ".".join(str(part) for part in fault["loc"] if not str(part).startswith("<"))
    if fault["type"] == "unexpected_keyword_argument":
        return f"{path}: {key} is not a key of this section; the committed params.yaml has every key"
    if fault["type"] == "missing":
        return f"{path}: {key} is missing; add it (the committed params.yaml has every key)"
    reason = fault["msg"].removeprefix("Value error, ")
    given = repr(fault["input"])
    given = given if len(given) < LONGEST_SHOWN else f"{given[:LONGEST_SHOWN]}..."
    if fault["loc"][-1:] == ("[key]",):
        return f"{path}: {'.'.join(map(str, fault['loc'][:-2]))} has an entry named {given}: {reason}"
    value = "" if isinstance(fault["input"], dict) else f" is {given}"
    subject = f"{key}{value}: " if key else ""  # a rule between sections names its keys itself
    return f"{path}: {subject}{reason[0].lower()}{reason[1:]}"


def stage_rng(seed: int, *names: str) -> np.random.Generator:
    """A random generator for each stage, or part of one, independent and from the one seed."""
    words = [seed, *("/".join(names)).encode()]
    return np.random.default_rng(np.random.SeedSequence(words))


def composed(profile: str, overrides: Sequence[str] = (), root: Path = ROOT) -> dict:
    """What `dvc exp run` writes into params.yaml for a profile with some parameters changed."""
    from hydra import compose, initialize_config_dir  # half a second to import, and only here
    from omegaconf import OmegaConf

    with initialize_config_dir(str(root / "conf"), version_base=None):
        content = compose("config", overrides=[f"profile={profile}", *overrides])
    return OmegaConf.to_container(content, resolve=True)
