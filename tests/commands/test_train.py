"""`jaxae train` on color images, on sizes that halve to no whole number, and on vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxae import cli, data, files, likelihoods
from jaxae.commands import train
from jaxae.errors import UserError
from jaxae.runs import read_records

LABELS = np.arange(60) % 3


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts every test in a folder of its own, with the user's cache in it."""
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def colors(tmp_path: Path) -> str:
    """Writes 60 color images of 9x13 pixels, without labels."""
    images = np.random.default_rng(0).integers(0, 256, (60, 9, 13, 3), np.uint8)
    np.savez(tmp_path / "colors.npz", images=images)
    return "colors.npz"


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Writes 60 rows of four numbers and a label."""
    numbers = np.random.default_rng(0).normal([0, 100, -5, 7], [1, 30, 0.1, 2], (60, 4))
    rows = [",".join(map(str, [*row, label])) for row, label in zip(numbers, LABELS, strict=True)]
    (tmp_path / "table.csv").write_text("\n".join(["a,b,c,d,kind", *rows]))
    return "table.csv"


def run_with(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = f"{line} --batch-size 20 --epochs 2 --latent 4 --out run".split()
    monkeypatch.setattr("sys.argv", ["jaxae", "train", *arguments])
    train.main(cli.parse(train.Options, arguments))


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", ["--network resnet --hidden 4 6", "--network conv --hidden 4 4 --objective vq"]
)
def test_color_images_of_an_odd_size(
    line: str, colors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_with(f"--dataset {colors} {line}", monkeypatch)
    assert len(read_records(Path("run"))) == 2
    with Image.open("run/pictures/samples.png") as picture:
        # Ten columns of 13 pixels, enlarged five times, with gaps of 2 and margins of 6.
        assert picture.width == 10 * (5 * 13 + 2) - 2 + 2 * 6
        assert picture.mode == "RGB"


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", ["", "--objective conditional --likelihood gaussian_identity_learned"]
)
def test_vectors(line: str, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run_with(f"--dataset {table} --label kind --hidden 8 {line}", monkeypatch)
    losses = [record["test_loss"] for record in read_records(Path("run"))]
    assert np.isfinite(losses).all()
    assert not Path("run/pictures/samples.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--dataset table.csv --label kind --network conv", "choose a dense network"),
        ("--dataset table.csv --label kind --network resnet", "choose a dense network"),
        ("--dataset table.csv --objective conditional", "without labels: choose vae"),
        ("--dataset colors.npz --objective conditional", "without labels: choose vae"),
        ("--dataset table.csv --likelihood bernoulli", r"reach from .*--scale minmax"),
        ("--dataset colors.npz --scale standardize", r"reach from .*--scale minmax"),
        ("--dataset table.csv --objective salt-and-pepper", "choose masking"),
        ("--dataset table.csv --binarization dynamic", "leave out --binarization"),
        ("--dataset table.csv --likelihood gaussian_learned --standard-deviation 3", "choose"),
    ],
)
def test_what_does_not_suit_the_data_is_refused(
    line: str, message: str, table: str, colors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=message):
        run_with(line, monkeypatch)
    assert not Path("run").exists()


def choose(images: np.ndarray, **options: Any) -> str | None:
    """Returns the name of the likelihood that is chosen for images or vectors."""
    split = data.Split(images, None)
    chosen = train._choose_likelihood(
        train.Options(**options), data.Dataset("some", split, split, (), "")
    )
    return likelihoods.name_of(chosen)


def test_the_likelihood_suits_images_or_vectors_by_default() -> None:
    images, vectors = np.zeros((2, 4, 4, 1), np.uint8), np.ones((2, 3), np.float32)
    assert choose(images) == "bernoulli"
    assert choose(vectors) == "gaussian_identity"
    assert choose(vectors, standard_deviation=0.5) == "gaussian_identity 0.5"
    assert choose(vectors, likelihood="bernoulli") == "bernoulli"
    assert choose(images, likelihood="gaussian") == "gaussian"
    assert choose(images, likelihood="gaussian", standard_deviation=0.5) == "gaussian 0.5"
    # What runs recorded when the option had a default.
    assert choose(images, likelihood="bernoulli", standard_deviation=0.1) == "bernoulli"
    with pytest.raises(UserError, match="choose gaussian or gaussian_identity"):
        choose(images, standard_deviation=0.5)
