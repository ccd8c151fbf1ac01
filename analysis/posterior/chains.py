"""Posterior samples of a field: chains run in groups; each group is a task for a worker and resumes if interrupted."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.core.workers import scatter
from analysis.flatsky.maps import central_crops
from analysis.params import Params, load_params, stage_rng
from analysis.posterior.diagnostics import Level, convergence_table, watched
from analysis.posterior.runner import load_state, save_state
from analysis.posterior.sampler import annealer
from analysis.posterior.setting import field_setting


def group_sizes(chains: int, batch: int) -> list[int]:
    """Number of chains in each group: at most `batch` unless a chain would be alone, and as equal as possible."""
    groups = max(1, min(-(-chains // batch), chains // 2))
    return [len(part) for part in np.array_split(np.arange(chains), groups)]


def sampled_field(params: Params, name: str, work: Path) -> tuple[np.ndarray, list[Level], Table, np.ndarray]:
    """Samples of a run, the health of its chains, how well the chains agree, and the path of the first chain.

    Parameters
    ----------
    work : folder for finished groups and for chains that are still running

    Returns
    -------
    samples : (chains, ny, nx), float32
    levels : one record a noise level
    convergence : R-hat and effective sample size a statistic
    trail : (1 + levels, ny, nx), the first chain at its start and after every level; no maps where none were kept
    """
    sizes = group_sizes(params.sample.fields[name].chains, params.sample.batch)
    tasks = {work / f"group_{number}.npz": (name, number, size) for number, size in enumerate(sizes)}
    scatter(_sample_group, tasks, params.compute, what=f"groups of chains of {name}")
    groups = [load_state(path, np.random.default_rng()) for path in tasks]
    arrays = [group[1] for group in groups]
    samples = np.concatenate([a.pop("samples") for a in arrays])
    trails = [a.pop("trail") for a in arrays]
    draws = {key: np.concatenate([a[key] for a in arrays], axis=1) for key in arrays[0]}
    each = [dict(zip(draws, values, strict=True)) for values in zip(*draws.values(), strict=True)]
    return samples, together([group[0] for group in groups], sizes), convergence_table(each), trails[0]


def together(groups: Sequence[Sequence[Level]], sizes: Sequence[int]) -> list[Level]:
    """Health of all chains, from groups of `sizes`: means over chains; the maximum for `highest` and `evaluations`.

    In the original's schedule, groups may reach different numbers of levels. Only levels that all reached are used.
    """
    levels = []
    for records in zip(*groups, strict=False):
        first = asdict(records[0])
        means = {
            key: np.average([np.asarray(getattr(record, key)) for record in records], axis=0, weights=sizes)
            for key in ("step", "acceptance", "stein", "power")
        }
        levels.append(
            Level(
                **first
                | {key: value.item() for key, value in means.items() if key != "power"}
                | {
                    "power": tuple(means["power"].tolist()),
                    "highest": max(record.highest for record in records),
                    "evaluations": max(record.evaluations for record in records),
                }
            )
        )
    return levels


def _sample_group(path: Path, name: str, number: int, chains: int) -> None:
    """Sample a group of chains. Their state is saved after each noise level and deleted at the end."""
    params, setting, anneal = _setting(path.parent.name, name)
    observation, under_way = setting.observation, path.with_name(f"under_way_{number}.npz")
    draws, watch = watched(observation.mask, observation.grid.pixel_arcmin)
    rng = stage_rng(params.seed, "sample", name, str(number))
    samples, levels = anneal(
        setting.gamma,
        setting.weight,
        chains,
        reduced=setting.amplitude * observation.reduced,
        rng=rng,
        further=params.sample.further,
        watch=watch,
        resume=under_way,
    )
    statistics = {key: np.stack([draw[key] for draw in draws]) for key in draws[0]}
    trail = load_state(under_way, np.random.default_rng())[1].get("trail", samples[:0])
    unit, side = setting.amplitude, observation.grid.pixels
    maps = {name: unit * central_crops(stack, side) for name, stack in (("samples", samples), ("trail", trail))}
    levels = [replace(level, sigma=level.sigma * unit, highest=level.highest * unit) for level in levels]
    save_state(path, rng, levels, **maps, **statistics)
    under_way.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _setting(run: str, name: str):
    """Parameters, setting and compiled sampler of a run, once a process."""
    params = load_params()
    setting = field_setting(params, name)
    return params, setting, annealer(setting.prior, params.sample.of_run(name))
