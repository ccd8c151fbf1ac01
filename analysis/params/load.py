"""All sections together: the rules between them, reading them, and random generators from their one seed."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.params.inference import PriorParams, SampleParams
from analysis.params.judging import (
    BaselinesParams,
    BenchmarkParams,
    CalibrateParams,
    ClustersParams,
    FiguresParams,
    MethodParams,
    RivalsParams,
    ValidateParams,
)
from analysis.params.learning import ComputeParams, TrainParams
from analysis.params.sky import CatalogueParams, FieldParams, GridParams, MocksParams, NullsParams, PredictiveParams
from analysis.params.types import ByName, Title, record
from analysis.params.universe import SimulationsParams, TheoryParams

LONGEST_SHOWN = 100  # characters of a rejected value in a message


class ParamsError(BorderError):
    """A value in `params.yaml` cannot be used; the message names the key, the value and the rule."""


@record
class Params:
    """All of `params.yaml`."""

    profile: Title
    """name of the profile; it is written to every file"""
    seed: Annotated[int, Field(ge=0)]
    """seed of all random numbers except those of the training"""
    grid: GridParams
    """pixels of every map"""
    fields: ByName[FieldParams]
    """fields of the sky, each by its name"""
    theory: TheoryParams
    """cosmology and sources"""
    simulations: SimulationsParams
    """stage: maps that the prior learns from"""
    catalogue: CatalogueParams
    """stage: galaxies of a field on the grid"""
    nulls: NullsParams
    """stage: null tests of a field"""
    mocks: MocksParams
    """stage: true maps and mock observations of them"""
    predictive: PredictiveParams
    """stage: whether a field looks like the simulated universe"""
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
    """stage outside the default run: the cost of a sample"""
    method: MethodParams
    """stage: figures of the method"""
    figures: FiguresParams
    """stage: figures of the results"""
    compute: ComputeParams
    """where the work is done; results do not depend on it"""

    @model_validator(mode="after")
    def named(self) -> "Params":
        """Names in one section exist in the other."""
        fields, runs = self.catalogue.fields, self.sample.fields
        controls = [run for pair in self.clusters.controls.items() for run in pair if run is not None]
        _check_names("catalogue.fields", fields, "fields", self.fields)
        _check_names("mocks.field", [self.mocks.field], "catalogue.fields", fields)
        _check_names("nulls.positions", self.nulls.positions, "catalogue.fields", fields)
        _check_names("method.runs", self.method.runs, "sample.fields", runs)
        _check_names("clusters.controls", controls, "sample.fields", runs)
        return self

    @model_validator(mode="after")
    def one_source_distribution(self) -> "Params":
        """The fields of a run have the sources of `theory`."""
        for name in self.catalogue.fields:
            sources = self.fields[name].sources
            if sources is not None and sources != self.theory.sources:
                given = json.dumps(asdict(sources)).replace('"', "")
                raise ValueError(
                    f"fields.{name}.sources differs from theory.sources, but maps and network of a run have one source"
                    f" distribution; train a network for it with `dvc exp run -S sample.network=data/score"
                    f" -S 'theory.sources={given}'`"
                )
        return self

    @model_validator(mode="after")
    def fitting_sizes(self) -> "Params":
        """Maps cover the grid, crops fit between margins and grid, and networks can halve what they see."""
        for key in ("map_pixels", "mock_pixels"):
            if getattr(self.simulations, key) < self.grid.pixels:
                raise ValueError(
                    f"simulations.{key} is {getattr(self.simulations, key)}, which is less than grid.pixels"
                    f" ({self.grid.pixels}): maps must cover the grid"
                )
        crop, margin = self.train.crop_pixels, self.train.margin
        if not 2 * margin < crop <= self.grid.pixels:
            raise ValueError(
                f"train.crop_pixels is {crop}, but must be more than twice train.margin ({margin}) and at most"
                f" grid.pixels ({self.grid.pixels})"
            )
        for key, pixels, section, network in (
            ("grid.pixels", self.grid.pixels, "train", self.train.network),
            ("train.crop_pixels", crop, "train", self.train.network),
            ("grid.pixels", self.grid.pixels, "rivals.deepmass", self.rivals.deepmass.network),
        ):
            if pixels % 2**network.scales:
                raise ValueError(
                    f"{key} is {pixels}, which a network of {network.scales + 1} {section}.network.widths cannot"
                    f" halve: give a multiple of {2**network.scales}"
                )
        return self

    @model_validator(mode="after")
    def trained_levels(self) -> "Params":
        """Samplers use only noise levels of the training."""
        if self.sample.sigma_final < self.train.sigma_min or self.sample.sigma_start > self.train.sigma_max:
            raise ValueError(
                f"sample.sigma_start and sigma_final are {self.sample.sigma_start} and {self.sample.sigma_final}, not"
                f" within train.sigma_max and sigma_min, {self.train.sigma_max} and {self.train.sigma_min}"
            )
        return self


def _check_names(key: str, names: Collection[str], section: str, known: Collection[str]) -> None:
    """Raise at the first of the `names` at a key that another section does not have."""
    for name in names:
        if name not in known:
            raise ValueError(f"{key} names {name!r}, which is not in {section}; add it there, or correct the name")


def load_params(path: str | Path = ROOT / "params.yaml") -> Params:
    """Every section of `path`, checked.

    Raises
    ------
    ParamsError
        One sentence that names the file, the key, the value and the rule.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # an impossible date is a ValueError
        raise ParamsError(f"{path} cannot be read as YAML ({' '.join(str(error).split())})") from None
    return checked_params(content, path)


def checked_params(content: object, source: str | Path) -> Params:
    """Every section of the `content` of `source`, checked as in `load_params`."""
    try:
        text = json.dumps(content)
    except (TypeError, ValueError, RecursionError) as error:  # YAML also has dates, sets and cycles
        raise ParamsError(
            f"{source} holds a value that is not a number, text, list or mapping ({error}); quote it"
        ) from None
    try:
        # from JSON, because strict validation from Python objects would not turn a mapping into a record
        return TypeAdapter(Params).validate_json(text)
    except ValidationError as error:
        raise ParamsError(" ".join(_sentence(source, error).split())) from None


def _sentence(path: str | Path, error: ValidationError) -> str:
    """The first fault that pydantic found, as one sentence."""
    faults = error.errors()
    # a misspelt key is also a missing key; the message about the written one helps more
    fault = next((f for f in faults if f["type"] == "unexpected_keyword_argument"), faults[0])
    # for a value with several forms, pydantic adds the form to the key
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
    """An independent random generator for a stage or a part of it, from the one seed."""
    words = [seed, *("/".join(names)).encode()]
    return np.random.default_rng(np.random.SeedSequence(words))


def composed(profile: str, overrides: Sequence[str] = (), root: Path = ROOT) -> dict:
    """The parameters of a profile with some of them overridden, as `dvc exp run` writes them to params.yaml."""
    from hydra import compose, initialize_config_dir  # takes half a second, so only here
    from omegaconf import OmegaConf

    with initialize_config_dir(str(root / "conf"), version_base=None):
        content: Any = OmegaConf.to_container(
            compose("config", overrides=[f"profile={profile}", *overrides]), resolve=True
        )
    return content
