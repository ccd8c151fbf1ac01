"""Commands that messages name, so that whoever reads one can go on."""

PLAIN_SIDE = 160  # pixels for which the maps of the committed params are wide enough
SKY_AROUND = 64  # pixels of a map beyond the grid
PLAIN_CROP = 80  # pixels of the crops that training sees in the committed params


def training_command(pixels: int, pixel_arcmin: float, run: str, *settings: str) -> str:
    """The command that makes maps for a grid, trains a network on them and samples a run with it.

    Parameters
    ----------
    pixels : int
        A side of the grid.
    pixel_arcmin : float
    run : str
        Of `sample.fields`.
    settings : str
        Further keys and values, such as `train.sigma_min=0.001`.
    """
    chosen = ["sample.network=data/score", f"grid.pixels={pixels}", f"grid.pixel_arcmin={pixel_arcmin:g}"]
    if pixels > PLAIN_SIDE:
        chosen += [f"simulations.{key}_pixels={pixels + SKY_AROUND}" for key in ("map", "mock")]
    if pixels < PLAIN_CROP:
        chosen.append(f"train.crop_pixels={pixels}")
    return " ".join(["dvc exp run", *(f"-S {each}" for each in (*chosen, *settings)), f"sample@{run}"])
