"""What it costs to average a survey's catalogue on a grid; rows of `make bench`."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.table import Table

from analysis.core.paths import ROOT
from analysis.core.processes import pool_of_processes
from analysis.params import CatalogueTable, Params, TableColumns, stage_rng
from analysis.sky import Grid
from analysis.survey.galaxies import center_of_table, shear_from_table
from analysis.survey.table_formats import open_table

ROWS = 10_000_000
SIDE_DEG, MIDDLE_DEG = 10.0, (35.0, -35.0)
FORMATS = {".fits": "fits", ".parquet": "parquet"}


def survey_rows(params: Params) -> Iterator[tuple[str, str, str]]:
    """Ten million galaxies on 10 x 10 degrees with weights, a response and a cut: seconds and memory."""
    rng = stage_rng(params.seed, "bench", "survey")
    with tempfile.TemporaryDirectory(dir=ROOT / ".work") as folder:
        table = drawn(rng)
        for suffix, form in FORMATS.items():
            path = Path(folder) / f"survey{suffix}"
            table.write(path, format=form)
            with pool_of_processes(1) as pool:
                seconds, memory_gb = pool.submit(binned, path, params.grid.pixel_arcmin).result()
            yield f"{ROWS} rows of {form}, centre and grid", f"{seconds:.0f} s, {memory_gb:.1f} GB", "60 s, 2 GB"


def drawn(rng: np.random.Generator) -> Table:
    """Galaxies without a signal, all over the field."""
    columns = {
        "ra": MIDDLE_DEG[0] + rng.uniform(-0.5, 0.5, ROWS) * SIDE_DEG,
        "dec": MIDDLE_DEG[1] + rng.uniform(-0.5, 0.5, ROWS) * SIDE_DEG,
        "e1": rng.normal(0, 0.27, ROWS).astype(np.float32),
        "e2": rng.normal(0, 0.27, ROWS).astype(np.float32),
        "weight": rng.uniform(0.5, 1, ROWS).astype(np.float32),
        "response": rng.normal(0.7, 0.1, ROWS).astype(np.float32),
        "z": rng.uniform(0, 2, ROWS).astype(np.float32),
    }
    return Table(columns)


def binned(path: Path, pixel_arcmin: float) -> tuple[float, float]:
    """Seconds and gigabytes that the middle and the observation of a catalogue take."""
    names = {name: name for name in ("ra", "dec", "e1", "e2", "weight")}
    entry = CatalogueTable(path=str(path), columns=TableColumns(**names), response="response", cuts="z > 0.3")
    start = time.perf_counter()
    opened = open_table(path, entry)
    grid = Grid(round(60 * SIDE_DEG / pixel_arcmin), pixel_arcmin, *center_of_table(opened, entry))
    shear_from_table(opened, entry, grid)
    seconds = time.perf_counter() - start
    from analysis.judge.benchmark import peak_memory_gb  # brings a backend, which must not count

    return seconds, peak_memory_gb()
