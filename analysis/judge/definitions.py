"""What every number of `data/validation/metrics.json` means."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

DEFINITIONS = {
    "accuracy.*.rmse": "RMSE over observed pixels, maps less their mean over the whole map (Remy+23); mean over mocks",
    "accuracy.*.pearson": "correlation of masked maps over the whole array (Remy+23), mean over test mocks",
    "accuracy_in_mask.*.rmse": "RMSE over observed pixels, each map less its mean there; mean over test mocks",
    "accuracy_in_mask.*.pearson": "correlation over observed pixels alone, mean over test mocks",
    "accuracy_own.*.rmse": "as accuracy.*.rmse, of mocks whose shear is the sampler's own periodic operator's",
    "accuracy_same.*.rmse": "as accuracy.*.rmse, of the same truths as accuracy_own, with the sky's shear",
    "accuracy_same.*.pearson": "as accuracy.*.pearson, of these",
    "accuracy_own.*.pearson": "as accuracy.*.pearson, of the same mocks",
    "accuracy*.*.*_err": "jackknife error of that mean over test boxes, over mocks where there is one box",
    "accuracy*.posterior_mean.rmse_infinite": "rmse without the noise of a finite number of samples, sqrt(MSE - V/n)",
    "accuracy*.posterior_mean.pearson_infinite": "pearson without that noise, r sqrt(var / (var - V/n))",
    "accuracy*.rmse_ratio_to_wiener": "sqrt(sum MSE_inf of the posterior mean / sum MSE of the Wiener map) over mocks",
    "accuracy*.rmse_ratio_to_wiener_err": "jackknife error over test boxes, over mocks where there is one box",
    "by_multipole.ell": "geometric centres of the bins",
    "by_multipole.power_to_truth.*": "power of a method's masked maps over that of the masked truths, test mocks",
    "by_multipole.correlation.*": "correlation of a method's masked maps with the masked truths in each bin",
    "calibration*.sbc_min_p_holm": "smallest of `sbc_p_holm`; below .01 a statistic is not calibrated",
    "calibration*.sbc_p_holm.*": "chance of ranks of the truth at least as uneven as these, chi squared, after Holm",
    "calibration*.tilt_or_width_min_p_holm": "smallest of `tilt_or_width_p_holm`",
    "calibration*.tilt_or_width_p_holm.*": "chance of ranks whose mean or spread is as far off, z-tests, after Holm",
    "calibration*.mean_rank_by_statistic.*": "mean rank of the truth over the number of ranks; 0.5 is exact",
    "calibration*.truth_over_samples_by_band.*": "power of the truths over that of their samples, margin left out",
    "calibration*.tarp_max_deviation": "largest departure of the expected coverage from its level (TARP)",
    "calibration*.tarp_band95": "what that departure stays below in 95 % of calibrated posteriors, this many mocks",
    "calibration*.coverage68": "share of truths in central 68 % intervals, mean over statistics",
    "calibration*.coverage95": "the same of central 95 % intervals",
    "calibration*.coverage68_by_statistic.*": "coverage68 of one statistic",
    "calibration*_err": "standard error, mocks drawn anew by box, one by one where there is one box",
    "calibration*.coverage68_by_statistic_err.*": "standard error, mocks drawn anew by box, one by one if it is one",
    "calibration.code": "digest of the code and parameters of the stage calibrate",
    "code": "digest of the code and parameters of the stage validate",
    "calibration*.mse_ratio_over_ideal": "MSE of one sample over MSE of the mean of n, over 2n/(n+1); 1 is exact",
    "calibration*.stray_share": "share of samples that reach 0.9 of the prior's bound though the truth has not half",
    "calibration*.n_mocks": "small mocks: those of `sky` with the reduced shear of a wider map, else the sampler's own",
    "calibration*.n_boxes": "N-body boxes of their truths, none of which training saw",
    "calibration*.n_samples": "posterior samples a mock",
    "clusters.*.*": "signal to noise of the stack, by map: mean kappa at in-mask clusters less that at random places,"
    " over the scatter of 1000 random stacks",
    "clusters.*.n": "clusters in the stack",
    "cosmos.cluster_stack_snr*": "the stack of the posterior mean: COSMOS, its B-mode run, its Gaussian-prior run",
    "presence.*.listed": "clusters of the list of the field of this run",
    "presence.*.observed": "those in observed pixels, of which what follows is told",
    "presence.*.probability": "share of samples with a peak of clusters.threshold in the radius, mean over clusters",
    "presence.*.probability_err": "standard error of that mean, from the scatter between clusters",
    "presence.*.chance": "the same at random observed places",
    "presence.*.bmode": "the same at the clusters in the run with turned shears; null where there is none",
    "presence.*.unlikely_by_chance": "clusters where less than 5 % of random places do as well",
    "presence.*.peaks": "places found blind where at least half of the samples have such a peak",
    "presence.*.peaks_at_clusters": "those of them within the radius of an X-ray cluster",
    "bimodality.*.dip": "Hartigan's dip of the aperture mass, over samples, at the place that figure 2 cuts out",
    "bimodality.*.p_value": "chance of a dip as large where the samples form one heap",
    "bimodality.*.power": "share of sets of as many draws of two heaps 4 standard deviations apart found at 5 %",
    "bimodality.*.n": "samples",
    "injection.code": "digest of the code and parameters of the stage clusters",
    "injection.redshift": "of NFW halos put into small mocks",
    "injection.mass": "their M200c, solar masses",
    "injection.realisations": "mocks of each mass",
    "injection.snr": "aperture mass of the halo over the noise that the shear gives it, mean",
    "injection.present": "share of samples with a peak of clusters.threshold at the halo, mean over mocks",
    "injection.present_err": "jackknife error of that mean over boxes, over mocks where there is one box",
    "injection.chance": "the same share at random places of the same mocks",
    "injection.in_truth": "share of truths that have such a peak there",
    "injection.mass_bias": "aperture mass of the posterior less the truth's, over the truth's",
    "detection.level": "probabilities down to which places of the test mocks are listed",
    "detection.peaks": "peaks of clusters.threshold in the observed pixels of the truths of all test mocks",
    "detection.listed": "places, found from samples alone, where a peak is at least that likely",
    "detection.purity": "share of them with a peak of the truth within the radius",
    "detection.completeness": "share of the truths' peaks found so",
    "detection.reliability.n": "places that one half of the samples gives a probability between a level and the next",
    "detection.reliability.predicted": "their mean probability in the other half",
    "detection.reliability.true": "share of them that are true, which should be that",
    "detection.reliability.true_err": "its binomial error",
    "mocks.*.rmse": "in-mask RMSE of the Wiener map of mocks whose shear is: own, of the sampler's periodic operator;"
    " wide, of a map wider than the grid; sky, that and reduced",
    "mocks.*.pearson": "in-mask correlation of the same",
    "mocks.*.coverage68": "share of observed pixels within one standard deviation of the Gaussian posterior",
    "mocks.*.rmse_change": "mean relative change from own, mocks of the same truths and noise",
    "mocks.*.rmse_change_err": "standard error of that mean",
    "mocks.*.coverage68_change": "mean change from own",
    "mocks.pixel.shear_variance_inside": "of a component about its mean over a pixel, by theory",
    "mocks.pixel.over_variance_of_a_galaxy": "that over the variance of one galaxy's shear estimate",
    "observation.*.*": "what the catalogue stage measured of a field",
    "one_point.quantile": "shares of observed pixels below `sample` and `truth`",
    "one_point.sample": "convergence below which that share of pixels lies in posterior samples of the test mocks",
    "one_point.truth": "the same in their true maps",
    "peaks.lowest": "height from which in-mask peaks of the truths count",
    "peaks.n": "such peaks of all test mocks",
    "peaks.rms_error.*": "rms error of a method at these pixels; infinite: without the noise of few samples",
    "prior.band_power_ratio": "power of samples of the prior alone over that of held-out maps, by bins of `ell`",
    "prior.band_power_max_departure": "largest departure of that ratio from 1",
    "prior.band_power_ratio_err": "standard error of that ratio, held-out maps bootstrapped by box",
    "prior.ell": "geometric centres of the bins",
    "prior.n": "samples of the prior alone",
    "prior.max_over_training_max": "highest convergence of samples of the prior alone over that of the training maps",
    "prior.peak_count_ratio": "peaks of samples of the prior alone over those of held-out maps, by `peak_height`",
    "prior.peak_count_excess": "largest departure of a bin of peaks over what is allowed, 15 % and 3 Poisson errors",
    "prior.peak_height": "lower edges of the bins",
    "prior.minimum_count_ratio": "the same of minima, by `minimum_depth` below zero",
    "prior.minimum_depth": "lower edges of the bins",
    "prior.quantile": "shares of pixels below `one_point` and `one_point_held_out`",
    "prior.one_point": "convergence below which that share of pixels of the samples lies, margin left out",
    "prior.one_point_held_out": "the same of held-out maps",
    "prior.runaway_sigma": "noise level at which a sample first exceeded 1.5 times the training maximum; null if none",
    "prior.at_bound": "share of samples of the prior alone that reach 0.9 of the training maximum inside the margin",
    "prior.at_bound_held_out": "the same of held-out maps",
    "prior.at_bound_allowed": "beyond this share a run may not go on: 1 % and 3 Poisson errors above held-out maps'",
    "prior.band_power_excess": "largest departure of that ratio from 1, less two errors, over the 0.1 that is allowed",
    "prior.runaway": "1 if a sample is not finite or exceeds 1.5 times the training maximum",
    "prior.level_sigma": "noise levels of the sampler of the prior alone",
    "prior.level_stein": "E[(kappa - m).score] over -(modes) at each; null where the score is not at hand",
    "prior.level_power": "power of the noisy samples at each over S + sigma^2, in four bands from long waves to short",
    "prior.stein_error": "largest departure of E[(kappa - m).score] from -(modes) over noise levels, relative",
    "rivals.deepmass.best_round": "round of the training whose network is kept, 0 for none",
    "rivals.deepmass.parameters": "weights of the network of DeepMass",
    "rivals.rmse_validation.*": "rms error on the validation mocks that the rivals are tuned on, observed pixels, less"
    " the mean of each map",
    "rivals.sparse.scales": "scales of starlets",
    "rivals.sparse.threshold": "of active coefficients, in standard deviations of their noise",
    "rivals.sparse.turns": "of the sparse and the Gaussian component",
    "sampler.acceptance": "mean share of accepted trajectories, over levels and runs",
    "sampler.evaluations_per_sample": "score evaluations, all passes counted",
    "sampler.rhat_max": "largest rank-normalised R-hat of band powers and highest peak, over runs; 1 if chains agree",
    "sampler.ess_min": "smallest effective number of draws of the same, from sample.further transitions a chain",
    "sampler.runaway": "runs of sample.fields, and test mocks, with a sample beyond 1.5 times the training maximum",
    "sampler.at_bound": "share of samples, of the run with the largest, that reach 0.9 of the training maximum",
    "sampler.at_bound_mocks": "the same of all samples of the test mocks",
    "sampler.at_bound_truths": "the same of their truths",
    "sampler.stein_error": "as prior.stein_error, worst over runs",
    "spread.mse_ratio_over_ideal": "MSE of one sample over MSE of the mean of n, over 2n/(n+1), full-field test mocks",
    "spread.n_mocks": "full-field test mocks",
    "spread.n_samples": "posterior samples of each",
    "simulations.*.*": "number, rms and maximum of the maps of each split",
    "simulations.boxes.*": "N-body boxes of a split, none of which another split sees",
    "simulations.source": "where the maps come from",
    "simulations.ell": "geometric centres of the bins",
    "simulations.c_ell_over_halofit": "mean C_ell of maps of the grid's size over that of such pieces of halofit's sky",
    "simulations.published_over_halofit": "the same of the one public map of MassiveNuS",
    "simulations.skewness_at_1_arcmin.*": "<d^3> / <d^2>^1.5 after a Gaussian of 1 arcmin: mean and scatter of"
    " the maps, the public map's, and how many scatters it lies from the mean",
    "spectrum.ell": "geometric centres of the bins",
    "spectrum.max_departure": "largest departure of that ratio from 1",
    "spectrum.sample_to_truth": "power of masked posterior samples over that of the masked truths",
    "theory.*": "rms of the convergence expected of theory, all multipoles up to theory.ell_max",
    "train.parameters": "weights of the network",
    "train.error_*": "denoising RMSE over the Gaussian score's at that noise level, held-out box, no margin",
}


def definitions(metrics: Mapping) -> dict[str, str]:
    """What each metric means: for every dotted key, the entry of `DEFINITIONS` whose pattern fits it most closely.

    Raises
    ------
    KeyError
        If a metric has no definition.
    """
    found = {}
    for key in _dotted(metrics):
        fitting = [pattern for pattern in DEFINITIONS if fnmatchcase(key, pattern)]
        if not fitting:
            raise KeyError(
                f"the metric {key} has no definition; add one to DEFINITIONS in analysis/judge/definitions.py"
            )
        found[key] = DEFINITIONS[max(fitting, key=lambda pattern: len(pattern.replace("*", "")))]
    return found


def _dotted(metrics: Mapping, prefix: str = "") -> list[str]:
    """Keys of nested mappings, joined by dots."""
    keys = []
    for key, value in metrics.items():
        keys += _dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [prefix + key]
    return keys
