"""experiments/latents.py as a user starts it, on a run that was trained before."""

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxae import cli, data, plots
from jaxae.commands import latents, train
from jaxae.errors import UserError
from jaxae.evaluate import make_images
from support.commands import command, start
from support.pictures import cells_of

pytestmark = pytest.mark.slow

# The rows of each picture, and the columns of its groups.
PICTURES = {
    "samples_normal": (10, (10,)),
    "samples_mixture": (10, (10,)),
    "samples_flow": (10, (10,)),
    "interpolations": (10, (1, 10, 1)),
    "morph": (6, (12,)),
    "arithmetic": (6, (1, 10)),
    "traversal": (4, (11,)),
    "neighbors": (6, (1, 5, 5)),
}
MINI = data.load("fashion_mnist_mini")
CLASSES, FIRST = MINI.class_names, np.asarray(MINI.test.labels)[:6]
# Their labels.
LABELS: dict[str, dict[str, Any]] = {
    "interpolations": {
        "headings": ("image", "decoded", "image"),
        "row_labels": ("linear", "spherical") * 5,
        "rows_together": 2,
    },
    "morph": {"row_labels": [f"image {i} to {(i + 1) % 6}" for i in range(6)]},
    "arithmetic": {
        "headings": ("image", "moved to the class"),
        "column_labels": ("", *CLASSES),
        "row_labels": [CLASSES[label] for label in FIRST],
    },
    "traversal": {
        "column_labels": ["-2.5\N{GREEK SMALL LETTER SIGMA}"] * 11,
        "row_labels": ["unit 0"] * 4,
    },
    "neighbors": {"headings": ("image", "nearest codes", "nearest pixels")},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run in it."""
    folder = tmp_path_factory.mktemp("latents")
    line = "--dataset fashion_mnist_mini --epochs 1 --latent 4 --out run"
    process = start("fashion", line, folder)
    assert process.returncode == 0, process.stderr
    return folder


def test_every_picture_is_drawn_with_its_caption(place: Path) -> None:
    process = start("latents", "run --out drawn --fit-images 200", place)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == "done: pictures in drawn"
    drawn = {path.name for path in (place / "drawn").iterdir()}
    assert drawn == {f"{name}.png" for name in PICTURES} | {"morph.gif"}
    images = MINI.test.images[:6, ..., 0]
    for name, (rows, columns) in PICTURES.items():
        file = place / "drawn" / f"{name}.png"
        assert file.stat().st_size < 200_000
        with Image.open(file) as image:
            picture = np.asarray(image)
            caption = image.info["Description"]
        assert caption.startswith("fashion, fashion_mnist_mini: ")
        layout = plots.lay_out((28, 28), rows, columns, **LABELS.get(name, {}))
        assert picture.shape[1] == layout.width
        assert picture.shape[0] > layout.height + 10  # the caption
        cells = cells_of(picture, layout)
        assert len(np.unique(cells)) > 9, "an image, not one gray"
        if name in ("arithmetic", "neighbors"):
            np.testing.assert_array_equal(cells[:, 0], images)
        elif name == "interpolations":
            np.testing.assert_array_equal(cells[::2, 0], images[:5])
            np.testing.assert_array_equal(cells[1::2, -1], images[1:])
            np.testing.assert_allclose(cells[::2, 1], cells[1::2, 1], atol=1)  # paths begin alike
    with Image.open(place / "drawn" / "morph.gif") as image:
        assert getattr(image, "n_frames", 1) > 6
        assert image.size == (140, 140)


def test_the_images_and_the_priors_can_be_chosen(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    latents.main(
        latents.Options(Path("run"), priors=("normal",), images=(5, 900, 7), fit_images=50, seed=1)
    )
    pictures = place / "run" / "pictures"
    assert [path.name for path in pictures.glob("samples_*")] == ["samples_normal.png"]
    with Image.open(pictures / "morph.png") as image:
        assert "test images 5, 900, 7" in image.info["Description"]
        layout = plots.lay_out((28, 28), 3, (12,), row_labels=["image 900 to 7"] * 3)
        assert image.width == layout.width


@pytest.mark.parametrize(
    ("objective", "asked", "drawn"),
    [("conditional", ("normal",), "samples_normal"), ("vq", None, "samples_resample")],
)
def test_conditional_and_quantized_networks_are_drawn(
    objective: str, asked: Any, drawn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = f"--objective {objective} --hidden 16 --latent 4 --dataset mnist_mini --epochs 1"
    train.main(cli.parse(train.Options, f"{line} --batch-size 500 --out run".split()))
    latents.main(latents.Options(Path("run"), priors=asked, out=Path("drawn"), fit_images=200))
    others = {name for name in PICTURES if not name.startswith("samples")}
    assert {path.stem for path in Path("drawn").glob("*.png")} == others | {drawn}
    if objective == "conditional":
        labels = data.load("mnist_mini").test.labels
        assert labels is not None
        alike, other = np.flatnonzero(labels == labels[0])[1], np.argmax(labels != labels[0])
        latents.main(latents.Options(Path("run"), priors=("normal",), images=(0, int(alike))))
        with pytest.raises(UserError, match="give images of one class"):
            latents.main(latents.Options(Path("run"), images=(0, int(other))))


def test_the_default_images_of_a_conditional_network_are_of_one_class() -> None:
    labels = np.array([3, 7, 5, 7, 5, 7], np.int32)
    for count, expected in ((6, [1, 3, 5]), (2, [0])):
        split = data.Split(np.zeros((count, 4, 4, 1), np.uint8), labels[:count].copy())
        images = make_images(data.assemble("few", split, split, tuple("01234567")), "none")
        chosen = latents.choose_images(None, images, conditional=True)
        np.testing.assert_array_equal(chosen, expected)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nowhere", "nowhere is not a run"),
        ("run --images 5 1000", "--images 5 1000: give two or more, from 0 to 999"),
        ("run --images 5", "--images 5: give two or more"),
        ("run --fit-images 1", "--fit-images 1"),
        ("run --priors resample --fit-images 50", "does not quantize"),
    ],
)
def test_what_cannot_be_drawn_gives_one_line(
    line: str,
    message: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", command("latents", f"{line} --out none")[1:])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(sys.argv[0], run_name="__main__")
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") == 1
    assert not (place / "none").exists()
