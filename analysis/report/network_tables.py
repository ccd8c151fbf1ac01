"""Markdown tables of released networks: what training them took, and the fields that were sampled with them."""

from collections.abc import Mapping, Sequence

from analysis.report.tables import METHODS
from analysis.report.typeset import markdown


def networks_table(networks: Mapping[str, Mapping]) -> str:
    """Released networks: the maps that they are for, and what training them took."""
    rows = []
    for profile, network in networks.items():
        grid = f"{network['pixels']}², {network['pixel_arcmin']:.2g}'"
        cost = ["not recorded"] * 4
        if "seconds" in network:
            kind = f"{network['hardware']}, {network['backend']}, {network['precision']}"
            cost = [f"{network['weights']:,}", f"{network['steps']:,}", f"{network['seconds'] / 60:.0f}", kind]
        rows.append([f"`{profile}`", grid, *cost])
    return markdown(["profile", "grid", "weights", "steps", "training [min]", "trained on"], rows)


def runs_table(runs: Mapping[str, Sequence[Mapping]]) -> str:
    """Fields sampled with released networks: errors where the truth is known, S/N of the stacked clusters.

    Parameters
    ----------
    runs : what `draw --keep` kept, by profile
    """
    rows = []
    for profile, kept in runs.items():
        for run in kept:
            accuracy, stacks = run.get("accuracy", {}), run.get("cluster_stack_snr", {})
            for method, label in METHODS.items():
                if method not in accuracy and method not in stacks:
                    continue
                rows.append([f"`{profile}`", run["title"], label, *_errors(accuracy.get(method)), _snr(stacks, method)])
                if method == "posterior_mean" and method in accuracy:
                    many = f"posterior mean, many samples (of {run['samples']})"
                    rows.append([f"`{profile}`", run["title"], many, *_errors(accuracy[method], "_infinite"), ""])
    header = ["network", "field", "method", "RMSE [0.01]", "r", "RMSE in mask [0.01]", "r in mask", "stack S/N"]
    return markdown(header, rows)


def _errors(row: Mapping | None, infinite: str = "") -> list[str]:
    """RMSE and correlation of a method by both conventions, nothing where the truth is unknown."""
    if row is None:
        return [""] * 4
    cells = []
    for convention in ("accuracy", "accuracy_in_mask"):
        rmse = max(row[f"{convention}.mse_infinite"], 0) ** 0.5 if infinite else row[f"{convention}.rmse"]
        cells += [f"{100 * rmse:.3f}", f"{row[f'{convention}.pearson{infinite}']:.3f}"]
    return cells


def _snr(stacks: Mapping, method: str) -> str:
    """S/N of the stacked clusters of a method, nothing where there are none."""
    return f"{stacks[method]:.1f}" if method in stacks else ""
