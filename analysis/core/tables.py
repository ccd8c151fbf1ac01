"""Tables on disk, as ECSV."""

from pathlib import Path

from astropy.table import Table

from analysis.core.files import atomic


def save_table(table: Table, path: str | Path) -> None:
    """Write a table as ECSV."""
    with atomic(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)


def load_table(path: str | Path) -> Table:
    """Read a table that `save_table` wrote."""
    return Table.read(path, format="ascii.ecsv")
