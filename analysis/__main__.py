"""Command line of the project: `python -m analysis COMMAND`. Each command is a function here, or `main` of a module.

Modules are imported as a command runs, so that `--help` and errors come at once.
"""

import os
import re
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from analysis.core.environment import settle
from analysis.core.files import BorderError

COLUMNS, UNITS = "ra=ALPHA,dec=DELTA", "ra=hourangle,dec=deg"  # examples
# A pair of `ra=ALPHA,dec=DELTA`; a value ends where the next pair begins, or stands in double quotes
PAIR = re.compile(r'\s*(\w+)\s*=\s*(?:"((?:[^"]|"")+)"|(.*?))\s*(?:,(?=\s*\w+\s*=)|,?\s*$)', re.DOTALL)
PLAIN = {  # commands without arguments: what they do, and the module whose `main` does it
    "readme": ("Fill the numbers of README.md from the released metrics.", "analysis.report.readme"),
    "paper": ("Write numbers and tables of the paper, and its PDF.", "analysis.report.paper"),
    "verify": ("Compare this run with the published one: each claim, and every metric.", "analysis.tools.verify"),
    "guide": ("Write the generated parts of paper/guide.", "analysis.tools.guide"),
    "bench": ("Print a table of times, memory and accuracy on this machine.", "analysis.tools.bench"),
    "descent": ("Fit the descent that sharpens the halos of the N-body boxes.", "analysis.tools.descent_fit"),
    "glimpse": ("Compare the map of the bright galaxies with a public sparse map of them.", "analysis.tools.glimpse"),
    "redraw": ("Draw every figure again from what is kept of it in data/shown.", "analysis.tools.redraw"),
    "published": ("Measure the public MassiveNuS map, for the evidence.", "analysis.tools.published"),
}
RunName = Annotated[str, typer.Argument(help="name of a run of sample.fields")]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Run stages of the pipeline, and the tools around them.",
)


def main(arguments: list[str] | None = None) -> int:
    """Exit status of a command: 0; 1 with a sentence on stderr; 2 where the command line itself is wrong."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal may know fewer letters than names of columns have
            stream.reconfigure(errors="backslashreplace")
    try:
        if arguments is None:  # of the command line, not of a function: this may restart the process
            settle()
        try:
            app(arguments, prog_name="python -m analysis")
        except SystemExit as end:  # typer ends every command so
            status = end.code
        sys.stdout.flush()
    except BorderError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _add(name: str, does: str, module: str) -> None:
    """Add the command that calls `main` of a module."""

    def command() -> None:
        import_module(module).main()

    app.command(name, help=does)(command)


for _name, (_does, _module) in PLAIN.items():
    _add(_name, _does, _module)


@app.command()
def run(
    stage: Annotated[str, typer.Argument(help="name of a notebook of notebooks/")],
    which: Annotated[list[str] | None, typer.Argument(metavar="key=value", help="which field or sample")] = None,
) -> None:
    """Run the notebook of a stage."""
    pairs = [text.partition("=") for text in which or []]
    for pair in pairs:
        if not all(pair):
            raise typer.BadParameter(f"{''.join(pair)!r} is not of the form key=value")
    warnings.filterwarnings("ignore", message="IProgress not found")  # no bar is shown, in a notebook or elsewhere
    from analysis.core import stage as stages
    from analysis.params import load_params

    try:
        stages.run(stage, {key: value for key, _, value in pairs}, profile=load_params().profile)
    except stages.StageError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None


CataloguePath = Annotated[str, typer.Argument(help="FITS, Parquet, CSV, ECSV or HDF5")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        help=f"names by role, as in {COLUMNS}; a name may stand in double quotes; others are guessed; repeatable"
    ),
]
Units = Annotated[list[str] | None, typer.Option(help=f"of positions, as in {UNITS}; else guessed")]
Cuts = Annotated[str | None, typer.Option(help="rows to keep, as in 'z_b > 0.5 & `mag-err` < 0.1'")]
Hdu = Annotated[str | None, typer.Option(help="number or name of the HDU of a FITS file")]
Key = Annotated[str | None, typer.Option(help="table of an HDF5 file")]
Twice = Annotated[bool, typer.Option("--allow-duplicates", help="equal rows are different galaxies")]
FieldName = Annotated[str | None, typer.Option(help="of the field; that of the file if left out")]
Network = Annotated[str | None, typer.Option(help="folder of the network; that of the release if left out")]


@app.command()
def check(
    path: CataloguePath,
    columns: Columns = None,
    units: Units = None,
    cuts: Cuts = None,
    hdu: Hdu = None,
    key: Key = None,
    twice: Twice = False,
) -> None:
    """Describe a shear catalogue, and print the entry that uses it."""
    asked = _asked(columns, units, cuts=cuts, hdu=hdu, key=key, twice=twice)
    from analysis.tools import check

    check.main(path, check.Asked(**asked))


def _add_own_field(name: str, does: str, function: str) -> None:
    """Add a command that makes a field of a catalogue, by a function of `own_field`."""

    def command(
        path: CataloguePath,
        name: FieldName = None,
        network: Network = None,
        columns: Columns = None,
        units: Units = None,
        cuts: Cuts = None,
        hdu: Hdu = None,
        key: Key = None,
        twice: Twice = False,
    ) -> None:
        asked = _asked(columns, units, cuts=cuts, hdu=hdu, key=key, twice=twice)
        from analysis.tools import check, own_field

        getattr(own_field, function)(path, check.Asked(**asked), name=name, network=network)

    app.command(name, help=does)(command)


_add_own_field("init", "Describe a shear catalogue, and write the settings of its field to conf/field.", "init")
_add_own_field(
    "map",
    "Map a shear catalogue with a network that is kept: its settings (init), null tests, samples, pictures.",
    "map_field",
)


def _asked(columns: list[str] | None, units: list[str] | None, **others: str | bool | None) -> dict:
    """What the options say of a catalogue, for `check.Asked`; they are checked before anything is imported."""
    named, given = _named("--columns", columns or [], COLUMNS), _named("--units", units or [], UNITS)
    return {"columns": named, "units": given, **others}


def _named(option: str, texts: Sequence[str], example: str) -> dict[str, str]:
    """Values by name of an option that was given once or more, as in `ra=ALPHA,dec=DELTA`."""
    found = {}
    for text in texts:
        end = 0
        while end < len(text):
            pair = PAIR.match(text, end)
            if pair is None or not (pair[2] or pair[3]):
                raise BorderError(f"{option} is {text!r}; write it as in {example}.")
            found[pair[1]] = pair[2].replace('""', '"') if pair[2] else pair[3]
            end = pair.end()
    return found


@app.command()
def draw(
    name: RunName, keep: Annotated[bool, typer.Option("--keep", help="also store the result with the network")] = False
) -> None:
    """Draw one run of sample.fields from its samples alone."""
    from analysis.report import draw

    draw.main(name, keep)


@app.command()
def export(
    name: RunName,
    folder: Annotated[str | None, typer.Option(help="to write into; data/export/NAME if left out")] = None,
    healpix: Annotated[int | None, typer.Option(metavar="NSIDE", help="also write the mean as a HEALPix map")] = None,
    xarray: Annotated[bool, typer.Option("--xarray", help="also write the samples as HDF5 for xarray")] = False,
) -> None:
    """Write a run of sample.fields as files for other tools."""
    from analysis.report import export

    export.main(name, folder, healpix, xarray)


@app.command()
def page(name: RunName = "cosmos") -> None:
    """Write figures, tables and a field to explore as one HTML file."""
    from analysis.report import page

    page.main(name)


@app.command()
def release(network: Annotated[bool, typer.Option("--network", help="the network alone")] = False) -> None:
    """Keep the results of a long run in data/released."""
    from analysis.tools import release

    release.main(network)


@app.command()
def recheck(profile: Annotated[str, typer.Argument()] = "reference") -> None:
    """Confirm a release by sampling some of its mocks again."""
    from analysis.tools import release

    release.confirm(profile)


@app.command()
def suites(
    maps: Annotated[list[str], typer.Argument(metavar="PATH=ARCMIN", help="maps of a suite, and their pixel scale")],
    samples: Annotated[int, typer.Option(help="of each mock", min=2)] = 24,
) -> None:
    """Sample mocks of COSMOS with truths that others simulated."""
    from analysis.tools import suites

    suites.main(maps, samples)


@app.command()
def ablation(
    minutes: Annotated[float, typer.Option(help="of training for each variant, on one core", min=0.1)] = 10.0,
) -> None:
    """Train variants of the network, and compare them."""
    from analysis.tools import trainings

    trainings.ablation(minutes)


@app.command()
def learning(seeds: Annotated[int, typer.Option(help="trainings of each row", min=1)] = 2) -> None:
    """Train on more and fewer boxes, weights and steps, and compare what is learnt."""
    from analysis.tools import trainings

    trainings.learning(seeds)


if __name__ == "__main__":
    sys.exit(main())
