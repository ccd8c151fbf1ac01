"""Export a run of `sample.fields` for other tools: FITS images, DS9 regions, HEALPix, HDF5.

`mass_map.fits` has every layer of the map. The other images have one HDU and a celestial WCS. Regions are ICRS circles.
The HEALPix map (ICRS, nested) lists only the pixels of the field; readers take all others as unseen. The HDF5 file of
the samples follows netCDF 4, so that xarray opens it with its coordinates.
"""

import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from scipy.ndimage import map_coordinates

from analysis.core.files import BorderError, atomic, expanded
from analysis.core.paths import DATA, ROOT
from analysis.core.tables import load_table
from analysis.params import load_params
from analysis.sky import Grid, Observation, grid_from_header, image_hdu, load_observation, read_image, write_fits
from analysis.survey.clusters import load_clusters

SOFTWARE = "probabilistic-mass-mapping"  # the name that pyproject.toml installs it by
CARDS = ("PROFILE", "SOURCE", "SEED", "CODEHASH")
LARGEST_NSIDE = 2**14  # pixels of a fifth of an arcmin
COLOURS = {"clusters": "white", "peaks": "cyan"}


def main(name: str, folder: str | None, nside: int | None, xarray: bool) -> None:
    """Write mean and standard deviation of a run, regions of its clusters and peaks, and print the paths.

    Parameters
    ----------
    folder : to write into, `data/export/<name>` if None
    nside : also write the mean as HEALPix with this NSIDE
    xarray : also write the samples as HDF5

    Raises
    ------
    BorderError
        If there is no such run, or it was not sampled, or HEALPix or the folder cannot be written.
    """
    params = load_params()
    if name not in params.sample.fields:
        runs = ", ".join(params.sample.fields)
        raise BorderError(f"sample.fields has no run {name!r}; choose one of: {runs}.")
    source = DATA / "samples" / f"{name}.fits"
    samples, header = read_image(source, "SAMPLES")
    grid, about = grid_from_header(header), provenance(source)
    maps = {key: read_image(source, key.upper())[0] for key in ("mean", "std")}
    observed = load_observation(ROOT / params.sample.fields[name].observation)
    if not same_pixels(observed.grid, grid):
        raise BorderError(f"{source} is of another grid than its observation; run `dvc repro sample@{name}`.")
    healpix = healpix_pixels(maps["mean"], grid, nside) if nside is not None else None
    listed = (ROOT / params.sample.fields[name].observation).with_suffix("")
    tables = found_tables(name, listed, DATA / "clusters" / "results")
    target = made_folder(Path(expanded(folder)) if folder else DATA / "export" / name)
    written = [save_mass_map(target / "mass_map.fits", samples, maps, observed, about)]
    written += [save_image(target / f"{key}.fits", image, grid, about) for key, image in maps.items()]
    if healpix is not None:
        written.append(save_healpix(target / f"mean_nside{nside}.fits", healpix, nside, about))
    if xarray:
        written.append(save_samples_hdf5(target / "samples.h5", samples, grid, about))
    for what, table in tables.items():
        if table is None:
            print(f"no {what} of {name} are listed: run `dvc repro clusters` where it is one of clusters.controls")
            continue
        circles = regions(table, params.clusters.radius_arcmin)
        written.append(save_regions(target / f"{what}.reg", circles, COLOURS[what]))
    print("\n".join(str(path) for path in written))


def made_folder(path: Path) -> Path:
    """The folder `path`, made if it is missing.

    Raises
    ------
    BorderError
        If `path` is a file, or the folder cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise BorderError(f"{path} cannot be written into ({error.strerror}); give another --folder.") from None


def provenance(path: str | Path) -> dict[str, str | int]:
    """The FITS cards of a file of samples that say how it was made."""
    header = fits.getheader(path)
    return {key: header[key] for key in CARDS if key in header}


def found_tables(name: str, observed: Path, results: Path) -> dict[str, Table | None]:
    """X-ray clusters and blind peaks of a run, as the stage clusters wrote them; None if there is no list.

    Without results of that stage, the clusters are those listed for the field.

    Parameters
    ----------
    observed : path of the observation without its ending
    results : folder of the stage clusters
    """
    lists = [results / f"{name}_clusters.ecsv", observed.with_name(f"{observed.name}_clusters.ecsv")]
    clusters = next((load_clusters(path) for path in lists if path.is_file()), None)
    peaks = results / f"{name}_peaks.ecsv"
    return {"clusters": clusters, "peaks": load_table(peaks) if peaks.is_file() else None}


def same_pixels(one: Grid, other: Grid) -> bool:
    """Whether two grids have the same pixels on the sky, but for rounding in their headers."""
    numbers = [(grid.pixels, grid.pixel_arcmin, grid.ra_deg, grid.dec_deg) for grid in (one, other)]
    return one.projection == other.projection and np.allclose(*numbers, rtol=1e-9, atol=1e-7)


def save_mass_map(
    path: Path,
    samples: np.ndarray,
    maps: Mapping[str, np.ndarray],
    observed: Observation,
    about: Mapping[str, object],
) -> Path:
    """Write the layers MEAN, STD, SNR (mean over standard deviation), COUNT, MASK and SAMPLES as FITS.

    Beside `about` the primary header has NSAMPLES, and what applies of the keywords of Euclid's mass maps: SOFTNAME
    and SOFTVERS, PROJ (projection), PWIDTH and PIXSIZE (sides of map and pixel, deg) and NGAL (galaxies).

    Parameters
    ----------
    samples : (n, ny, nx), on the grid of the observation
    maps : their `mean` and `std`, (ny, nx)

    Source: names of the keywords as the prototype of Euclid's processing function 2D-MASS-WL writes them.
    """
    grid, side_deg = observed.grid, observed.grid.pixel_arcmin / 60
    mean, std = maps["mean"], maps["std"]
    snr = np.divide(mean, std, out=np.zeros_like(mean), where=std > 0)
    layers = {"MEAN": mean, "STD": std, "SNR": snr, "COUNT": observed.count, "MASK": observed.mask}
    hdus = [image_hdu(layer, grid, key) for key, layer in layers.items()]
    hdus.append(image_hdu(samples, grid, "SAMPLES", axis="SAMPLE"))
    cards = {"NSAMPLES": len(samples), "SOFTNAME": SOFTWARE, "SOFTVERS": version(SOFTWARE), "PROJ": grid.projection}
    cards |= {"PWIDTH": grid.pixels * side_deg, "PIXSIZE": side_deg, "NGAL": round(float(observed.count.sum()))}
    write_fits(path, hdus, {**about, **cards})
    return path


def save_image(path: Path, image: np.ndarray, grid: Grid, about: Mapping[str, object]) -> Path:
    """Write a map as the only image of a FITS file, float32."""
    hdu = fits.PrimaryHDU(np.asarray(image, np.float32), grid.header())
    hdu.header["BUNIT"] = ("", "dimensionless")
    hdu.header.update(about)
    with atomic(path) as temporary:
        hdu.writeto(temporary)
    return path


def regions(table: Table, radius_arcmin: float) -> list[tuple[float, float, float, str]]:
    """RA, Dec (deg), radius (arcmin) and label of a circle around each row of a table.

    Parameters
    ----------
    table : with `ra_deg`, `dec_deg`, and optional `id`, `z`, `r500_arcmin`, `probability`
    radius_arcmin : of rows without `r500_arcmin`
    """
    circles = []
    for row in table:
        known = {key: row[key] for key in table.colnames}
        radius = float(known.get("r500_arcmin", radius_arcmin))
        label = [str(known["id"])] if "id" in known else []
        label += [f"{key}={known[name]:.2f}" for key, name in (("z", "z"), ("p", "probability")) if _known(known, name)]
        circles.append((float(row["ra_deg"]), float(row["dec_deg"]), radius, " ".join(label)))
    return circles


def save_regions(path: Path, circles: list[tuple[float, float, float, str]], colour: str) -> Path:
    """Write circles as a DS9 region file, which Aladin and others also read.

    Source: the format of https://ds9.si.edu/doc/ref/region.html.
    """
    lines = ["# Region file format: DS9 version 4.1", f"global color={colour} width=1", "icrs"]
    lines += [
        f'circle({ra_deg % 360:.6f},{dec_deg:.6f},{60 * radius:.2f}")' + (f" # text={{{label}}}" if label else "")
        for ra_deg, dec_deg, radius, label in circles
    ]
    with atomic(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="ascii", errors="replace")
    return path


def healpix_pixels(image: np.ndarray, grid: Grid, nside: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (nested, ICRS) of the HEALPix pixels with their centres on a grid, and the map interpolated there.

    Raises
    ------
    BorderError
        If astropy-healpix is not installed, `nside` is not a power of two, or no pixel has its centre on the grid.
    """
    try:
        from astropy_healpix import HEALPix
    except ImportError as error:
        raise BorderError(
            "HEALPix maps need the package astropy-healpix; install it with `pip install astropy-healpix`."
        ) from error
    if not (1 <= nside <= LARGEST_NSIDE and nside & (nside - 1) == 0):
        raise BorderError(f"--healpix is {nside}; give a power of two up to {LARGEST_NSIDE}.")
    sphere = HEALPix(nside, order="nested", frame="icrs")
    edge = np.linspace(-0.5, grid.pixels - 0.5, 33)
    low, high = np.full_like(edge, edge[0]), np.full_like(edge, edge[-1])
    border = grid.wcs.wcs_pix2world(np.concatenate([edge, edge, low, high]), np.concatenate([low, high, edge, edge]), 0)
    centre = SkyCoord(grid.ra_deg, grid.dec_deg, unit="deg")
    numbers = sphere.cone_search_skycoord(centre, 1.01 * centre.separation(SkyCoord(*border, unit="deg")).max())
    places = sphere.healpix_to_skycoord(numbers)
    x, y = grid.pixel_positions(places.ra.deg, places.dec.deg)
    inside = (x >= -0.5) & (x < grid.pixels - 0.5) & (y >= -0.5) & (y < grid.pixels - 0.5)
    if not inside.any():
        size = sphere.pixel_resolution.to_value(u.arcmin)
        raise BorderError(
            f"--healpix is {nside}: no pixel of {size:.0f} arcmin has its centre in the field; give a larger number."
        )
    order = np.argsort(numbers[inside])
    values = map_coordinates(np.asarray(image, float), [y[inside], x[inside]], order=1, mode="nearest")
    return numbers[inside][order], values[order]


def save_healpix(path: Path, pixels: tuple[np.ndarray, np.ndarray], nside: int, about: Mapping[str, object]) -> Path:
    """Write `healpix_pixels` as a table of the pixels of the field; readers take all others as unseen."""
    numbers, values = pixels
    columns = [fits.Column("PIXEL", "K", array=numbers), fits.Column("KAPPA", "E", array=values.astype(np.float32))]
    hdu = fits.BinTableHDU.from_columns(columns, name="HEALPIX")
    hdu.header.update(
        {
            "PIXTYPE": "HEALPIX",
            "ORDERING": "NESTED",
            "COORDSYS": "C",  # celestial; RADESYS names the system
            "RADESYS": "ICRS",
            "NSIDE": nside,
            "INDXSCHM": "EXPLICIT",
            "OBJECT": "PARTIAL",
            **about,
        }
    )
    with atomic(path) as temporary:
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(temporary)
    return path


def save_samples_hdf5(path: Path, samples: np.ndarray, grid: Grid, about: Mapping[str, object]) -> Path:
    """Write samples as HDF5 that `xarray.open_dataset(path, engine="h5netcdf")` opens.

    Contents: `kappa` (sample, y, x); `x`, `y`, offsets from the centre in arcmin (east and north); `ra`, `dec` of every
    pixel in degrees. Grid, projection and the cards of the samples are attributes.
    """
    columns, rows = np.meshgrid(np.arange(grid.pixels), np.arange(grid.pixels))
    ra_deg, dec_deg = grid.wcs.wcs_pix2world(columns, rows, 0)
    left, right, bottom, top = grid.extent
    middle = (np.arange(grid.pixels) + 0.5) / grid.pixels
    axes = {
        "sample": (np.arange(len(samples)), {"long_name": "number of the posterior sample"}),
        "y": (bottom + middle * (top - bottom), {"units": "arcmin", "long_name": "offset from the centre, north"}),
        "x": (left + middle * (right - left), {"units": "arcmin", "long_name": "offset from the centre, east"}),
    }
    fields = {
        "kappa": (np.asarray(samples, np.float32), ("sample", "y", "x"), {"units": "1", "long_name": "convergence"}),
        "ra": (ra_deg, ("y", "x"), {"units": "degrees_east", "long_name": "right ascension (ICRS)"}),
        "dec": (dec_deg, ("y", "x"), {"units": "degrees_north", "long_name": "declination (ICRS)"}),
    }
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        for name, (values, attributes) in axes.items():
            file.create_dataset(name, data=values).make_scale(name)
            file[name].attrs.update(attributes)
        for name, (values, dimensions, attributes) in fields.items():
            packed = {"compression": "gzip", "shuffle": True} if name == "kappa" else {}
            dataset = file.create_dataset(name, data=values, **packed)
            dataset.attrs.update(attributes)
            for number, dimension in enumerate(dimensions):
                dataset.dims[number].attach_scale(file[dimension])
        file["kappa"].attrs["coordinates"] = "ra dec"
        file.attrs.update({key.lower(): value for key, value in about.items()})
        place = {"ra_deg": grid.ra_deg, "dec_deg": grid.dec_deg, "pixel_arcmin": grid.pixel_arcmin}
        file.attrs.update({"Conventions": "CF-1.8", "projection": grid.projection, **place})
    return path


def _known(row: Mapping[str, object], name: str) -> bool:
    """Whether a row has a finite number in the column `name`."""
    return name in row and bool(np.isfinite(row[name]))
