"""Every number of the paper by the name of its macro: where it was measured or set, and how many digits it has.

A number is looked up by a path such as `reference/accuracy/wiener/rmse`. It begins with what it is taken from:

* `quick`, `reference`: their released metrics (`data/released/<profile>/validation/metrics.json`)
* `calibration`, `clusters`: of the released long run
* `settings/quick`, `settings/reference`: parameters that a profile sets
* `benchmark`, `training`, `run`: costs
* `code`: a constant of a module, read from its source, since importing it would take Keras along
"""

import ast
import math
from collections.abc import Callable, Mapping

from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.report.paper.digits import (
    best_error,
    best_level,
    chance,
    decimals,
    general,
    inner,
    integer,
    largest,
    percent,
    percent_with_error,
    scientific,
    with_error,
)


def _measured(path: str, show: Callable[[float, float], str] = with_error) -> tuple:
    """A metric that has its error beside it."""
    return show, path, f"{path}_err"


SKIP, SPLIT = "code/analysis/prior/score.py", "code/analysis/posterior/likelihood.py"
OWN, SKY = "calibration", "calibration/sky"
NBODY = "settings/quick/simulations/nbody"
NUMBERS = {  # macro: how it is written, and the paths of what is written
    # data
    "Pixels": (integer, "settings/quick/grid/pixels"),
    "PixelArcmin": (general, "settings/quick/grid/pixel_arcmin"),
    "SideDeg": (
        lambda n, arcmin: f"{n * arcmin / 60:.2f}",
        "settings/quick/grid/pixels",
        "settings/quick/grid/pixel_arcmin",
    ),
    "Galaxies": (integer, "quick/observation/cosmos/rows"),
    "GalaxiesBright": (integer, "quick/observation/cosmos_bright/rows"),
    "ShapeNoise": (decimals(3), "quick/observation/cosmos/sigma_e1"),
    "AreaDeg": (decimals(2), "quick/observation/cosmos/area_deg2"),
    "ObservedPixels": (integer, "quick/observation/cosmos/n_pixels"),
    "Density": (decimals(1), "quick/observation/cosmos/density_arcmin2"),
    "ChiSquared": (decimals(2), "quick/observation/cosmos/chi2_per_pixel"),
    "StackClusters": (integer, "quick/clusters/cosmos/n"),
    "ClusterRedshift": (general, "settings/quick/validate/cluster_redshift_max"),
    # simulations
    "OmegaM": (general, "settings/quick/theory/omega_m"),
    "Hubble": (general, "settings/quick/theory/h"),
    "SpectralIndex": (general, "settings/quick/theory/n_s"),
    "ScalarAmplitude": (scientific(1), "settings/quick/theory/a_s"),
    "SourceRedshift": (general, "settings/quick/theory/sources/redshift"),
    "BoxSide": (general, f"{NBODY}/box_mpc_h"),
    "Particles": (integer, f"{NBODY}/particles"),
    "ForceMesh": (integer, f"{NBODY}/mesh"),
    "Steps": (integer, f"{NBODY}/steps"),
    "StartRedshift": (general, f"{NBODY}/start_redshift"),
    "Candidates": (integer, f"{NBODY}/candidates"),
    "DescentAmplitude": (general, f"{NBODY}/descent/amplitude"),
    "DescentGrowth": (general, f"{NBODY}/descent/growth"),
    "DescentScale": (general, f"{NBODY}/descent/k_long"),
    "QuickBoxesTrain": (integer, "quick/simulations/boxes/train"),
    "QuickBoxesValidation": (integer, "quick/simulations/boxes/validation"),
    "QuickBoxesTest": (integer, "quick/simulations/boxes/test"),
    "QuickMapsTrain": (integer, "quick/simulations/train/maps"),
    "ReferenceBoxesTrain": (integer, "reference/simulations/boxes/train"),
    "ReferenceBoxesValidation": (integer, "reference/simulations/boxes/validation"),
    "ReferenceBoxesTest": (integer, "reference/simulations/boxes/test"),
    "ReferenceMapsTrain": (integer, "reference/simulations/train/maps"),
    "EvidenceEllLow": (integer, "code/analysis/report/tables.py/EVIDENCE_ELL/0"),
    "EvidenceEllHigh": (integer, "code/analysis/report/tables.py/EVIDENCE_ELL/1"),
    "SimulatedLow": (inner(min), "quick/simulations/ell", "quick/simulations/c_ell_over_halofit"),
    "SimulatedHigh": (inner(max), "quick/simulations/ell", "quick/simulations/c_ell_over_halofit"),
    "Skewness": (decimals(2), "quick/simulations/skewness_at_1_arcmin/mean"),
    "SkewnessScatter": (decimals(2), "quick/simulations/skewness_at_1_arcmin/scatter"),
    "SkewnessPublished": (decimals(2), "quick/simulations/skewness_at_1_arcmin/massivenus"),
    "SkewnessSigma": (decimals(1), "quick/simulations/skewness_at_1_arcmin/massivenus_in_sigma"),
    "MockPixels": (integer, "settings/quick/simulations/mock_pixels"),
    "WideChange": _measured("quick/mocks/wide/rmse_change", percent_with_error),
    "SkyChange": _measured("quick/mocks/sky/rmse_change", percent_with_error),
    # prior and training
    "JoinLow": (general, "settings/quick/simulations/join_ell/0"),
    "JoinHigh": (general, "settings/quick/simulations/join_ell/1"),
    "Margin": (integer, "settings/quick/train/margin"),
    "GateSigma": (general, "settings/quick/train/gate_sigma"),
    "SkipSignificance": (general, f"{SKIP}/SKIP_SIGNIFICANCE"),
    "SkipHeight": (general, f"{SKIP}/SKIP_HEIGHT"),
    "QuickWeights": (integer, "quick/train/parameters"),
    "ReferenceWeights": (integer, "reference/train/parameters"),
    "SigmaMin": (general, "settings/quick/train/sigma_min"),
    "SigmaMax": (general, "settings/quick/train/sigma_max"),
    "PeakWeight": (general, "settings/quick/train/peak_weight"),
    "LongWeight": (general, "settings/quick/train/long_weight"),
    "PeakSignificance": (general, "code/analysis/prior/loss.py/SIGNIFICANT"),
    "CropPixels": (integer, "settings/quick/train/crop_pixels"),
    "QuickSteps": (
        lambda *n: integer(math.prod(n)),
        "settings/quick/train/epochs",
        "settings/quick/train/steps_per_epoch",
    ),
    "ReferenceSteps": (
        lambda *n: integer(math.prod(n)),
        "settings/reference/train/epochs",
        "settings/reference/train/steps_per_epoch",
    ),
    "LearningRate": (general, "settings/quick/train/learning_rate"),
    "BestSigma": (best_level, "reference/train"),
    "QuickBestError": (best_error, "quick/train"),
    "ReferenceBestError": (best_error, "reference/train"),
    "QuickTrainMax": (decimals(2), "quick/simulations/train/max"),
    "QuickValidationMax": (decimals(2), "quick/simulations/validation/max"),
    "ReferenceTrainMax": (decimals(2), "reference/simulations/train/max"),
    "ReferenceValidationMax": (decimals(2), "reference/simulations/validation/max"),
    "LeastSigma": (general, "code/analysis/prior/training.py/VALIDATION_SIGMA/0"),
    "QuickErrorLeast": (decimals(3), "quick/train/error_0.001"),
    "ReferenceErrorLeast": (decimals(3), "reference/train/error_0.001"),
    # sampler
    "Cycles": (integer, "settings/quick/sample/gibbs/cycles"),
    "LastCycles": (integer, "settings/quick/sample/gibbs/last_cycles"),
    "SigmaStart": (general, "settings/quick/sample/sigma_start"),
    "Renoise": (general, "settings/quick/sample/gibbs/renoise"),
    "SigmaEnd": (general, "settings/quick/sample/gibbs/sigma_end"),
    "SplitShare": (general, f"{SPLIT}/SHARE"),
    "Evaluations": (integer, "reference/sampler/evaluations_per_sample"),
    "BenchPixels": (integer, "benchmark/pixels"),
    "HmcEvaluations": (integer, "benchmark/samplers/hmc/evaluations"),
    "HmcDifference": (decimals(1), "benchmark/samplers/hmc/largest_difference"),
    "RemyEvaluations": (integer, "benchmark/samplers/remy2020/evaluations"),
    "RemyDifference": (decimals(1), "benchmark/samplers/remy2020/largest_difference"),
    "EvaluationsOver": (integer, "benchmark/evaluations_original_over_gibbs"),
    "ReferencePriorSamples": (integer, "reference/prior/n"),
    "ReferencePriorPower": (decimals(2), "reference/prior/band_power_max_departure"),
    "ReferencePriorPowerErr": (largest(2), "reference/prior/band_power_ratio_err"),
    "ReferencePriorPeaks": (decimals(2), "reference/prior/peak_count_excess"),
    "QuickPriorPower": (decimals(2), "quick/prior/band_power_max_departure"),
    "QuickPriorPeaks": (decimals(2), "quick/prior/peak_count_excess"),
    "Further": (integer, "settings/quick/sample/further"),
    "QuickRhat": (decimals(2), "quick/sampler/rhat_max"),
    "ReferenceRhat": (decimals(2), "reference/sampler/rhat_max"),
    # accuracy
    "QuickMocks": (integer, "quick/spread/n_mocks"),
    "QuickMockSamples": (integer, "quick/spread/n_samples"),
    "ReferenceMocks": (integer, "reference/spread/n_mocks"),
    "ReferenceMockSamples": (integer, "reference/spread/n_samples"),
    "QuickRmseRatio": _measured("quick/accuracy/rmse_ratio_to_wiener"),
    "ReferenceRmseRatio": _measured("reference/accuracy/rmse_ratio_to_wiener"),
    "ReferenceRatioOwn": _measured("reference/accuracy_own/rmse_ratio_to_wiener"),
    "ReferenceRatioSame": _measured("reference/accuracy_same/rmse_ratio_to_wiener"),
    "ReferenceWienerPearson": _measured("reference/accuracy/wiener/pearson"),
    "ReferencePosteriorPearson": _measured("reference/accuracy/posterior_mean/pearson_infinite"),
    "ReferencePeaks": (integer, "reference/peaks/n"),
    "PeakLowest": (general, "reference/peaks/lowest"),
    "ReferencePeakError": (decimals(3), "reference/peaks/rms_error/posterior_mean_infinite"),
    "ReferencePeakErrorWiener": (decimals(3), "reference/peaks/rms_error/wiener"),
    "ReferenceSamplePower": (decimals(2), "reference/spectrum/max_departure"),
    "QuickSamplePower": (decimals(2), "quick/spectrum/max_departure"),
    # calibration
    "CalibrationSamples": (integer, f"{OWN}/n_samples"),
    "CalibrationBoxes": (integer, f"{OWN}/n_boxes"),
    "AperturePixels": (general, "code/analysis/judge/calibration.py/APERTURE_PIXELS"),
    "ReferenceTrainRms": (decimals(4), "reference/simulations/train/rms"),
    "ReferenceTestRms": (decimals(4), "reference/simulations/test/rms"),
    "OwnMocks": (integer, f"{OWN}/n_mocks"),
    "OwnFlatP": (chance, f"{OWN}/sbc_min_p_holm"),
    "OwnTiltP": (chance, f"{OWN}/tilt_or_width_min_p_holm"),
    "OwnCoverage": _measured(f"{OWN}/coverage68", percent_with_error),
    "OwnCoverageWide": _measured(f"{OWN}/coverage95", percent_with_error),
    "OwnMseRatio": _measured(f"{OWN}/mse_ratio_over_ideal"),
    "OwnTarp": (decimals(3), f"{OWN}/tarp_max_deviation"),
    "OwnTarpBand": (decimals(3), f"{OWN}/tarp_band95"),
    "OwnStrays": (general, f"{OWN}/stray_share"),
    "OwnLongRank": (decimals(2), f"{OWN}/mean_rank_by_statistic/band_0"),
    "OwnLongPower": (decimals(2), f"{OWN}/truth_over_samples_by_band/band_0"),
    "OwnShortPower": (decimals(2), f"{OWN}/truth_over_samples_by_band/band_5"),
    "SkyMocks": (integer, f"{SKY}/n_mocks"),
    "SkyFlatP": (chance, f"{SKY}/sbc_min_p_holm"),
    "SkyTiltP": (chance, f"{SKY}/tilt_or_width_min_p_holm"),
    "SkyCoverage": _measured(f"{SKY}/coverage68", percent_with_error),
    "SkyCoverageWide": _measured(f"{SKY}/coverage95", percent_with_error),
    "SkyMseRatio": _measured(f"{SKY}/mse_ratio_over_ideal"),
    "SkyTarp": (decimals(3), f"{SKY}/tarp_max_deviation"),
    "SkyTarpBand": (decimals(3), f"{SKY}/tarp_band95"),
    "SkyLongPower": (decimals(2), f"{SKY}/truth_over_samples_by_band/band_0"),
    "SkyLongCoverage": (
        percent_with_error,
        f"{SKY}/coverage68_by_statistic/band_0",
        f"{SKY}/coverage68_by_statistic_err/band_0",
    ),
    "OnePointShare": (general, "reference/one_point/quantile/0"),
    "ReferenceSampleLow": (decimals(4), "reference/one_point/sample/0"),
    "ReferenceTruthLow": (decimals(4), "reference/one_point/truth/0"),
    # COSMOS
    "CosmosChains": (integer, "settings/quick/sample/fields/cosmos/chains"),
    "ClusterMass": (general, "settings/quick/figures/cluster_mass_min"),
    "Realisations": (integer, "settings/quick/baselines/realisations"),
    "BmodeDegrees": (general, "settings/quick/sample/fields/cosmos_bmode/rotate_deg"),
    "QuickStack": (decimals(1), "quick/cosmos/cluster_stack_snr"),
    "QuickStackGaussian": (decimals(1), "quick/cosmos/cluster_stack_snr_gaussian"),
    "ReferenceStack": (decimals(1), "reference/cosmos/cluster_stack_snr"),
    "ReferenceStackBmode": (decimals(1), "reference/cosmos/cluster_stack_snr_bmode"),
    "ReferenceStackGaussian": (decimals(1), "reference/cosmos/cluster_stack_snr_gaussian"),
    "ReferenceStackWiener": (decimals(1), "reference/clusters/cosmos/wiener"),
    "ReferenceStackKaiser": (decimals(1), "reference/clusters/cosmos/kaiser_squires"),
    "ReferenceStackBright": (decimals(1), "reference/clusters/cosmos_bright/posterior_mean"),
    "ReferenceStackBrightWiener": (decimals(1), "reference/clusters/cosmos_bright/wiener"),
    "QuickAtBound": (decimals(2), "quick/sampler/at_bound"),
    "QuickAtBoundMocks": (decimals(2), "quick/sampler/at_bound_mocks"),
    "QuickAtBoundTruths": (decimals(2), "quick/sampler/at_bound_truths"),
    "ReferenceAtBound": (decimals(2), "reference/sampler/at_bound"),
    "ReferenceAtBoundMocks": (decimals(2), "reference/sampler/at_bound_mocks"),
    "ReferenceAtBoundTruths": (decimals(2), "reference/sampler/at_bound_truths"),
    # clusters
    "PeakThreshold": (general, "settings/quick/clusters/threshold"),
    "PeakRadius": (general, "settings/quick/clusters/radius_arcmin"),
    "ApertureArcmin": (general, "settings/quick/clusters/aperture_arcmin"),
    "RandomPlaces": (integer, "settings/quick/clusters/random_places"),
    "ListedClusters": (integer, "quick/presence/cosmos/listed"),
    "ObservedClusters": (integer, "quick/presence/cosmos/observed"),
    "ClusterPresence": _measured("quick/presence/cosmos/probability", percent_with_error),
    "ClusterChance": (percent(1), "quick/presence/cosmos/chance"),
    "ClusterBmode": (percent(1), "quick/presence/cosmos/bmode"),
    "ClustersUnlikely": (integer, "quick/presence/cosmos/unlikely_by_chance"),
    "UnlikelyShare": (percent(0), "code/analysis/judge/detection.py/UNLIKELY"),
    "BlindPeaks": (integer, "quick/presence/cosmos/peaks"),
    "BlindPeaksAtClusters": (integer, "quick/presence/cosmos/peaks_at_clusters"),
    "HaloRedshift": (general, "settings/quick/clusters/injection/redshift"),
    "HaloRealisations": (integer, "settings/quick/clusters/injection/realisations"),
    "HaloSamples": (integer, "settings/quick/clusters/injection/samples"),
    "ReferenceHaloRealisations": (integer, "settings/reference/clusters/injection/realisations"),
    "ReferenceHaloSamples": (integer, "settings/reference/clusters/injection/samples"),
    **{
        f"Halo{name}": (show, *(f"clusters/injection/{key}/{order}" for key in keys))
        for order, mass in enumerate(("Lightest", "Lighter", "Heavier", "Heaviest"))
        for name, show, keys in (
            (f"{mass}Snr", decimals(1), ["snr"]),
            (f"{mass}Presence", percent_with_error, ["present", "present_err"]),
        )
    },
    "HaloChance": (percent(0), "clusters/injection/chance/0"),
    "ManyPresence": _measured("clusters/presence/cosmos_many/probability", percent_with_error),
    "ManyChance": (percent(1), "clusters/presence/cosmos_many/chance"),
    "ManyUnlikely": (integer, "clusters/presence/cosmos_many/unlikely_by_chance"),
    "ManySamples": (integer, "clusters/bimodality/cosmos_many/n"),
    "ManyDip": (decimals(3), "clusters/bimodality/cosmos_many/dip"),
    "ManyDipP": (chance, "clusters/bimodality/cosmos_many/p_value"),
    "ManyDipPower": (percent(0), "clusters/bimodality/cosmos_many/power"),
    "DipP": (chance, "quick/bimodality/cosmos/p_value"),
    "DipPower": (percent(0), "quick/bimodality/cosmos/power"),
    "DipSeparation": (general, "code/analysis/judge/bimodality.py/SEPARATION"),
    "MockPeaks": (integer, "quick/detection/peaks"),
    # costs
    "RunMinutes": (decimals(0, 1 / 60), "run/wall_s"),
    "RunMemory": (decimals(1), "run/peak_memory_gb"),
    "TrainMinutes": (decimals(0, 1 / 60), "training/seconds"),
}


def macros(sources: Mapping[str, object]) -> dict[str, str]:
    """Text of every macro of `NUMBERS`.

    Parameters
    ----------
    sources : what the first words of the paths stand for (see the module), but for `code`

    Raises
    ------
    BorderError
        If a number is missing; the sentence names it.
    """
    return {name: show(*(looked_up(sources, path, name) for path in paths)) for name, (show, *paths) in NUMBERS.items()}


def looked_up(sources: Mapping[str, object], path: str, macro: str) -> object:
    """What stands at a path; list items by their number."""
    kind, _, rest = path.partition("/")
    if kind == "code":
        module, _, rest = rest.partition(".py/")
        name, *steps = rest.split("/")
        node = constant(f"{module}.py", name)
    else:
        node, steps = sources, path.split("/")
    for step in steps:
        try:
            node = node[int(step) if isinstance(node, list | tuple) else step]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise BorderError(
                f"{path}, of which the paper's \\{macro} is made, is missing ({step!r} is not there); run the stage or"
                " the release that measures it, or take the macro out of analysis/numbers.py and paper/main.tex"
            ) from error
    if node is None:
        raise BorderError(
            f"{path}, of which the paper's \\{macro} is made, has no value in this run; take the macro out of"
            " analysis/numbers.py and paper/main.tex"
        )
    return node


def constant(module: str, name: str) -> object:
    """Value of a constant of a module, from its source.

    Raises
    ------
    BorderError
        If there is no such constant.
    """
    for node in ast.parse((ROOT / module).read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            names, values = ([target], [node.value])
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                names, values = target.elts, node.value.elts
            for one, value in zip(names, values, strict=True):
                if isinstance(one, ast.Name) and one.id == name:
                    return ast.literal_eval(value)
    raise BorderError(
        f"{module} has no constant {name}, which the paper quotes; give its new name in analysis/numbers.py"
    )
