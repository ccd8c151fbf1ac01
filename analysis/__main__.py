"""Command line of the project: `python -m analysis run STAGE [key=value ...]` and the tools that `--help` lists."""

import argparse
import os
import re
import sys
import warnings

from analysis.core.environment import settle
from analysis.core.files import BorderError

# A pair of `ra=ALPHA,dec=DELTA`; a value ends where the next pair begins, or stands in double quotes
PAIR = re.compile(r'\s*(\w+)\s*=\s*(?:"((?:[^"]|"")+)"|(.*?))\s*(?:,(?=\s*\w+\s*=)|,?\s*$)', re.DOTALL)
COLUMNS = "ra=ALPHA,dec=DELTA"


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 if it did its work, 1 with a sentence on stderr if not."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal may know fewer letters than names of columns have
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        if arguments is None:  # of the command line, not of a function: this may start the process anew
            settle()
        options.command(options)
        sys.stdout.flush()
    except BorderError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    """Every command with its arguments; each sets `command`, the function that does it."""
    parser = argparse.ArgumentParser(prog="python -m analysis", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the notebook of a stage")
    run.add_argument("stage", help="name of a notebook of notebooks/")
    run.add_argument("which", nargs="*", type=_pair, metavar="key=value", help="which field or sample")
    run.set_defaults(command=_run)
    check = commands.add_parser("check", help="say what a shear catalogue holds, and the entry that would use it")
    check.add_argument("path", help="FITS, Parquet, CSV, ECSV or HDF5")
    check.add_argument(
        "--columns",
        action="append",
        default=[],
        help=f"names by role, as in {COLUMNS}; a name may stand in double quotes; others are guessed; repeatable",
    )
    check.add_argument(
        "--units", action="append", default=[], help="of positions, as in ra=hourangle,dec=deg; else guessed"
    )
    check.add_argument("--cuts", help="rows to keep, as in 'z_b > 0.5 & `mag-err` < 0.1'")
    check.add_argument("--hdu", help="number or name of the HDU of a FITS file")
    check.add_argument("--key", help="table of an HDF5 file")
    check.add_argument("--allow-duplicates", action="store_true", help="take rows that stand twice for two galaxies")
    check.set_defaults(command=_check)
    readme = commands.add_parser("readme", help="fill the numbers of README.md from the metrics")
    readme.set_defaults(command=_readme)
    paper = commands.add_parser("paper", help="write numbers and tables of the paper, and its PDF")
    paper.set_defaults(command=_paper)
    bench = commands.add_parser("bench", help="print a table of times, memory and accuracy on this machine")
    bench.set_defaults(command=_bench)
    descent = commands.add_parser("descent", help="fit the descent that sharpens the halos of the N-body boxes")
    descent.set_defaults(command=_descent)
    published = commands.add_parser("published", help="measure the public MassiveNuS map, for the evidence")
    published.set_defaults(command=_published)
    ablation = commands.add_parser("ablation", help="train variants of the network for one budget, and compare them")
    ablation.add_argument("--profile", default="reference", help="simulations and settings to start from")
    ablation.add_argument("--minutes", type=float, default=10.0, help="of training a variant, on one core")
    ablation.add_argument("--jobs", type=int, default=os.cpu_count(), help="variants at once")
    ablation.set_defaults(command=_ablation)
    release = commands.add_parser("release", help="keep the results of a long run in data/released")
    release.add_argument("--network", action="store_true", help="the network alone, of a run that was not calibrated")
    release.set_defaults(command=_release)
    recheck = commands.add_parser("recheck", help="sample mocks of a release again, and confirm it where they agree")
    recheck.add_argument("profile", nargs="?", default="reference")
    recheck.set_defaults(command=_recheck)
    draw = commands.add_parser("draw", help="draw one run of sample.fields from its samples alone")
    draw.add_argument("name", help="of the run")
    draw.add_argument("--keep", action="store_true", help="numbers and picture also beside the released network")
    draw.set_defaults(command=_draw)
    export = commands.add_parser("export", help="write a run of sample.fields as files that other tools take")
    export.add_argument("name", help="of the run")
    export.add_argument("--folder", help="to write into; data/export/NAME where left out")
    export.add_argument("--healpix", type=int, metavar="NSIDE", help="the mean map as HEALPix too")
    export.add_argument("--xarray", action="store_true", help="the samples as HDF5 too, which xarray opens")
    export.set_defaults(command=_export)
    page = commands.add_parser("page", help="write paper/site/index.html: figures, tables, and a field to explore")
    page.add_argument("name", nargs="?", default="cosmos", help="of the run of sample.fields to explore")
    page.set_defaults(command=_page)
    verify = commands.add_parser("verify", help="compare this run's metrics with the published ones of its profile")
    verify.set_defaults(command=_verify)
    faults = commands.add_parser("faults", help="kill stages and what else may happen, and count what a rerun mends")
    faults.add_argument("number", nargs="?", type=int, default=100, help="of faults")
    faults.set_defaults(command=_faults)
    guide = commands.add_parser("guide", help="write the reference of parameters, and check what the guide points to")
    guide.set_defaults(command=_guide)
    licences = commands.add_parser("licences", help="write the licences of the locked packages into the guide")
    licences.set_defaults(command=_licences)
    audit = commands.add_parser("audit", help="ask which locked packages have known vulnerabilities (needs a network)")
    audit.set_defaults(command=_audit)
    store = commands.add_parser("store", help="read all that a DVC remote should hold, and name what is not whole")
    store.add_argument("name", nargs="?", help="of the remote; the default one where left out")
    store.add_argument("--mend", action="store_true", help="put this machine's copies in the place of damaged objects")
    store.set_defaults(command=_store)
    return parser


def _pair(text: str) -> tuple[str, str]:
    """Key and value of `key=value`."""
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form key=value")
    return key, value


def _named(option: str, texts: list[str], example: str) -> dict[str, str]:
    """What an option, given once or more, says by name, as in `ra=ALPHA,dec=DELTA`."""
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


def _run(options: argparse.Namespace) -> None:
    """Run a stage."""
    warnings.filterwarnings("ignore", message="IProgress not found")  # no bar is shown, in a notebook or elsewhere
    from analysis.core import stage
    from analysis.params import load_params

    try:
        stage.run(options.stage, dict(options.which), profile=load_params().profile)
    except stage.StageError as error:
        sys.exit(str(error))


def _check(options: argparse.Namespace) -> None:
    """Look at a catalogue."""
    from analysis.survey import check

    columns = _named("--columns", options.columns, COLUMNS)
    units = _named("--units", options.units, "ra=hourangle,dec=deg")
    chosen = {"cuts": options.cuts, "hdu": options.hdu, "key": options.key, "twice": options.allow_duplicates}
    check.main(options.path, columns=columns, units=units, **chosen)


def _readme(options: argparse.Namespace) -> None:
    """Fill README.md."""
    from analysis.report import readme

    readme.main()


def _paper(options: argparse.Namespace) -> None:
    """Make the paper."""
    from analysis.report import paper

    paper.main()


def _bench(options: argparse.Namespace) -> None:
    """Print the benchmark."""
    from analysis.tools import bench

    bench.main()


def _descent(options: argparse.Namespace) -> None:
    """Fit the descent."""
    from analysis.tools import descent_fit

    descent_fit.main()


def _published(options: argparse.Namespace) -> None:
    """Measure the public map."""
    from analysis.tools import published

    published.main()


def _ablation(options: argparse.Namespace) -> None:
    """Compare variants of the network."""
    from analysis.tools import ablation

    ablation.main(options.profile, options.minutes, options.jobs)


def _release(options: argparse.Namespace) -> None:
    """Keep the results of a long run."""
    from analysis.tools import release

    release.main(options.network)


def _recheck(options: argparse.Namespace) -> None:
    """Confirm a release."""
    from analysis.tools import recheck

    recheck.main(options.profile)


def _draw(options: argparse.Namespace) -> None:
    """Draw one run."""
    from analysis.report import draw

    draw.main(options.name, options.keep)


def _export(options: argparse.Namespace) -> None:
    """Write files for other tools."""
    from analysis.report import export

    export.main(options.name, options.folder, options.healpix, options.xarray)


def _page(options: argparse.Namespace) -> None:
    """Write the results page."""
    from analysis.report import page

    page.main(options.name)


def _verify(options: argparse.Namespace) -> None:
    """Compare with what was published."""
    from analysis.tools import verify

    verify.main()


def _faults(options: argparse.Namespace) -> None:
    """Strike stages."""
    from analysis.tools import faults

    faults.main(options.number)


def _guide(options: argparse.Namespace) -> None:
    """Write the user guide."""
    from analysis.tools import guide

    guide.main()


def _licences(options: argparse.Namespace) -> None:
    """List licences."""
    from analysis.tools import licences

    licences.main()


def _audit(options: argparse.Namespace) -> None:
    """Ask for vulnerabilities."""
    from analysis.tools import audit

    audit.main()


def _store(options: argparse.Namespace) -> None:
    """Inspect a remote."""
    from analysis.tools import store

    store.main(options.name, options.mend)


if __name__ == "__main__":
    sys.exit(main())
