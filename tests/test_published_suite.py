"""A suite that others published becomes the training set: from the download of its archive to a trained network."""

import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
from astropy.io import fits
from pipeline import cloned, shell
from range_server import serving

from analysis.flatsky.maps import load_maps
from analysis.flatsky.power import ell_grid, gaussian_field

pytestmark = pytest.mark.long


def suite_archive(maps):
    """Make a small archive of MassiveNuS's layout: skewed maps of its own size and pixel scale."""
    ell = np.maximum(ell_grid((512, 512), 3.5 * 60 / 512), 100)
    gaussian = gaussian_field((ell / 1000) ** -1.2, maps, rng=np.random.default_rng(1))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        for number, field in enumerate(gaussian / gaussian.std()):
            kappa = (0.02 * (np.exp(0.5 * field) - np.exp(0.125))).astype(np.float32)
            image = io.BytesIO()
            fits.PrimaryHDU(kappa).writeto(image)
            member = tarfile.TarInfo(f"Maps10/WLconv_z1.00_{number + 1:04d}r.fits")
            member.size = image.tell()
            image.seek(0)
            archive.addfile(member, image)
    return packed.getvalue()


def test_a_published_suite_from_download_to_trained_network(tmp_path):
    """Maps come from a server that breaks off once; nothing of an N-body box is made."""
    content, folder = suite_archive(12), cloned(tmp_path)
    with serving(content=content, drops=[len(content) // 2]) as server:
        choices = {
            "profile": "tiny",
            "simulations": "massivenus",
            "simulations.massivenus.address": server.address.replace("maps.tgz", "MassiveNu_fid_z1.tgz"),
            "simulations.massivenus.bytes": len(content),
            "simulations.massivenus.sha256": f'"{hashlib.sha256(content).hexdigest()}"',
        }
        arguments = " ".join(f"-S {key}={value}" for key, value in choices.items())
        done = shell(f"dvc exp run {arguments} train", folder, NO_PROXY="127.0.0.1")
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        assert len(server.asked) == 2
        assert server.asked[1].startswith("bytes=")
    metrics = json.loads((folder / "data" / "simulations" / "metrics.json").read_text())
    assert metrics["source"] == "massivenus"
    about = json.loads((folder / "data" / "simulations" / "maps.json").read_text())
    assert about["splits_share_boxes"] is True
    train = load_maps(folder / "data" / "simulations", "train").kappa
    assert train.shape == (4, 44, 44)
    assert json.loads((folder / "data" / "score" / "metrics.json").read_text())["parameters"] > 0
    assert not list((folder / ".work").glob("simulations/*/box_*"))
