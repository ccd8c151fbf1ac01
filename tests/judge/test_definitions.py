"""Every metric is described once: what it means, its digits, and its tolerance."""

import pytest

from analysis.core.files import BorderError
from analysis.judge.definitions import Tolerance, definitions, described, dotted, metrics_described
from analysis.tools.verify import published_metrics

NAMES = {name for profile in ("quick", "reference") for name in dotted(published_metrics(profile))}


def test_every_metric_has_one_definition_and_an_unknown_one_is_named():
    known = {"accuracy": {"wiener": {"rmse": 1.0, "rmse_err": 0.1}}, "cosmos": {"cluster_stack_snr": 5.0}}
    found = definitions(known)
    assert set(found) == {"accuracy.wiener.rmse", "accuracy.wiener.rmse_err", "cosmos.cluster_stack_snr"}
    assert "jackknife" in found["accuracy.wiener.rmse_err"]
    assert definitions({"clusters": {"cosmos": {"n": 5}}}) == {"clusters.cosmos.n": "clusters in the stack"}
    with pytest.raises(BorderError, match=r"cosmos\.beauty is not described"):
        definitions({"cosmos": {"beauty": 1.0}})


def test_every_released_metric_is_described_and_every_description_is_of_one():
    assert {described(name).pattern for name in NAMES} == set(metrics_described())


def test_the_closest_description_counts():
    assert described("observation.cosmos.n_pixels").tolerance == Tolerance()
    assert described("observation.cosmos.rows").tolerance == Tolerance(relative=1e-5)
    assert described("accuracy.wiener.rmse_err").tolerance is None
    assert described("accuracy.rmse_ratio_to_wiener").tolerance == Tolerance(absolute=0.001, errors=2.0)


def test_digits_are_formats_of_python():
    for metric in metrics_described().values():
        assert format(0.1234, metric.digits)
