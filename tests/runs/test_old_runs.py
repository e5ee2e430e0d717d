"""Runs of an older jaxae, whose modules lay flat in one folder, can be read, loaded and resumed.

old_runs.tar.gz holds two runs that commit 9b340f4 trained for an epoch, without their pictures and
with other paths in place of the original ones:

    family.py --objective vae --hidden 1 --latent 1 --activation tanh --batch-size 500 --out dense
    family.py --objective vq --network conv --hidden 2 3 --latent 2 --codebook 4 --dimension 2
        --learning-rate 0.01 --batch-size 250 --out conv

with `--dataset mnist_mini --epochs 1` each. The numbers below are those that this commit computed.
Never update the archive or the numbers: if this fails, users' runs fail.
"""

import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import jaxae
from jaxae import cli, data, runs
from jaxae.commands import train

pytestmark = pytest.mark.slow

ARCHIVE = Path(__file__).with_name("old_runs.tar.gz")


@dataclass(frozen=True)
class Old:
    """A run, and the numbers that its own version of jaxae computed for three test images."""

    name: str
    objective: str
    model: str
    codes: list[list[float]]  # of a vector, or of the first row and fourth column of a map
    pixels: list[list[float]]  # of the reconstructions: row 8, columns 12 to 15
    test_loss: float  # after the first epoch
    resumed: tuple[float, float]  # training and test loss after the second


DENSE = Old(
    "dense",
    "vae",
    "VariationalAutoencoder",
    codes=[[0.1512340], [0.4157978], [0.2203984]],
    pixels=[
        [0.4942349, 0.4478962, 0.5043871, 0.4948914],
        [0.4873183, 0.3544394, 0.5164139, 0.4899498],
        [0.4923761, 0.4221201, 0.5076197, 0.4935634],
    ],
    test_loss=565.3770751953125,
    resumed=(563.2708129882812, 560.6047973632812),
)
CONV = Old(
    "conv",
    "vq",
    "Autoencoder",
    codes=[[-0.2055697, -0.3405288], [-0.0308191, -0.0906488], [-0.2055697, -0.3405288]],
    pixels=[
        [0.3973764, 0.3963510, 0.3697422, 0.4072508],
        [0.3973764, 0.3963510, 0.3697422, 0.4072508],
        [0.3901116, 0.4092156, 0.3725603, 0.4144605],
    ],
    test_loss=407.177001953125,
    resumed=(349.18511962890625, 289.3693542480469),
)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("old", [DENSE, CONV], ids=lambda old: old.name)
def test_an_old_run_computes_the_numbers_of_its_own_time(old: Old, unpacked: Path) -> None:
    images = data.load("mnist_mini").test.images[:3]
    loaded = jaxae.load(unpacked / old.name)
    codes = loaded.encode(images)
    if codes.ndim == 4:
        codes = codes[:, 0, 3]
    np.testing.assert_allclose(codes, old.codes, rtol=0, atol=1e-5)
    pixels = loaded.reconstruct(images)[:, 8, 12:16, 0]
    np.testing.assert_allclose(pixels, old.pixels, rtol=0, atol=1e-5)


@pytest.mark.parametrize("old", [DENSE, CONV], ids=lambda old: old.name)
def test_an_old_run_is_read(old: Old, unpacked: Path) -> None:
    folder = unpacked / old.name
    config = runs.read_config(folder)
    assert config.experiment == "family"
    assert config.options.objective == old.objective
    assert config.options.run.epochs == 1
    assert config.dataset.image_shape == (28, 28, 1)
    assert config.network is not None
    assert config.network.model["class"] == old.model
    (record,) = runs.read_records(folder)
    assert record["epoch"] == 1
    assert record["test_loss"] == old.test_loss
    assert runs.read_summary(folder)["best_test_loss"] == old.test_loss


@pytest.mark.parametrize("old", [DENSE, CONV], ids=lambda old: old.name)
def test_an_old_run_goes_on_as_its_own_jaxae_would(
    old: Old, unpacked: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(unpacked / old.name, tmp_path / old.name)
    train.main(cli.parse(train.Options, ["--resume", str(folder), "--epochs", "2"]))
    first, second = runs.read_records(folder)
    assert first["test_loss"] == old.test_loss
    losses = second["train_loss"], second["test_loss"]
    np.testing.assert_allclose(losses, old.resumed, rtol=1e-4)
    assert runs.read_summary(folder)["epoch"] == 2
