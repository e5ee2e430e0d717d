"""Curves, reconstructions, samples, interpolations and codes for the page of an evaluated run."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxae import latents, metrics, plots, priors, runs
from jaxae.evaluate.images import Images
from jaxae.network import Trained
from jaxae.pages import Chart, Gallery, Picture, Scatter
from jaxae.priors import Prior
from jaxae.runs import skip_failed_picture

_POINTS = 2000  # test images whose codes are drawn
_ROW_WIDTH = 336  # pixels for images side by side, half of the page's width
_ROWS = 8  # in a grid of images
_MOST_CHARTS = 6
_EPOCHS_SHOWN = 4
_CHART_TITLES = {"psnr": "PSNR, dB", "kl": "KL", "negative_elbo": "Negative ELBO"}


def make_charts(lines: Sequence[Mapping[str, Any]]) -> tuple[Chart, ...]:
    """Returns charts of the loss and other recorded figures by epoch, training and test."""
    if not lines:
        return ()
    names = [name.removeprefix("test_") for name in lines[-1] if name.startswith("test_")]
    own = [name for name in names if not name.endswith(("_std", "_replicas")) and name != "mse"]
    loss = lines[-1]["test_loss"]
    own = [name for name in own if name == "loss" or lines[-1][f"test_{name}"] != loss]
    chosen = sorted(own, key=lambda name: (name != "loss", name != "psnr"))[:_MOST_CHARTS]
    epochs = np.array([line["epoch"] for line in lines])

    def title(name: str) -> str:
        return _CHART_TITLES.get(name, name.replace("_", " ").capitalize())

    return tuple(
        Chart(
            title(name),
            epochs,
            {
                split: runs.curve(lines, f"{prefix}_{name}")
                for split, prefix in (("training", "train"), ("test", "test"))
                if f"{prefix}_{name}" in lines[-1]
            },
        )
        for name in chosen
    )


def make_galleries(
    run: Path, trained: Trained, images: Images, generated: np.ndarray, prior: Prior
) -> tuple[Gallery, ...]:
    """Returns reconstructions, those that the run drew by epoch, samples and interpolations."""
    columns = _columns_of(images)
    given = "" if trained.classes is None else " with the labels of the test images, in their order"
    pairs, samples, paths = [], [], []
    with skip_failed_picture("of reconstructions"):
        pairs.append(Picture(_reconstructions(trained, images, columns)))
    if len(generated):
        with skip_failed_picture("of samples"):
            samples.append(Picture(plots.tile(generated[: _ROWS * columns], columns)))
    with skip_failed_picture("of interpolations"):
        paths.append(Picture(_interpolations(trained, images, columns)))
    galleries = [
        Gallery(
            "Reconstructions",
            "Test images, and under each its reconstruction.",
            tuple(pairs),
        ),
        Gallery(
            "Reconstructions by epoch",
            "Drawn by the run while it trained.",
            tuple(read_pictures(run)),
        ),
        Gallery(
            "Samples",
            f"Decoded{given}: {priors.DESCRIPTIONS[prior]}.",
            tuple(samples),
        ),
        Gallery(
            "Interpolations",
            "From a test image on the left to another on the right: between them, decoded codes at "
            "equal steps on the line between theirs.",
            tuple(paths),
        ),
    ]
    return tuple(gallery for gallery in galleries if gallery.pictures)


def _columns_of(images: Images) -> int:
    """Returns how many images fit side by side."""
    return max(4, min(_ROW_WIDTH // images.test.shape[2], len(images.test)))


def _reconstructions(trained: Trained, images: Images, columns: int) -> np.ndarray:
    """Draws rows of the first test images, and under each the row of their reconstructions."""
    count = columns * min(_ROWS // 2, max(1, len(images.test) // columns))
    originals, labels = images.test[:count], images.test_labels[:count]
    return _interleave(originals, trained.reconstruct(originals, labels), columns)


def _interleave(above: np.ndarray, below: np.ndarray, columns: int) -> np.ndarray:
    """Draws rows of images in turn from two arrays [rows * columns, H, W, C]."""
    parts = (slice(start, start + columns) for start in range(0, len(above), columns))
    return np.concatenate([plots.stack_rows(above[part], below[part]) for part in parts])


def _interpolations(trained: Trained, images: Images, columns: int) -> np.ndarray:
    """Draws a row per pair of classes: test images at its ends, decoded codes between them."""
    classes = np.unique(images.test_labels)
    firsts = [int(np.argmax(images.test_labels == label)) for label in classes[:_ROWS]]
    rows = []
    # A conditional network decodes a row under one label, so both of its ends are of one class.
    seconds = [int(np.flatnonzero(images.test_labels == label)[-1]) for label in classes[:_ROWS]]
    lasts = np.roll(firsts, -1) if trained.classes is None else seconds
    for start, stop in zip(firsts, lasts, strict=True):
        labels = images.test_labels[[start, stop]]
        ends = images.test[[start, stop]]
        start_code, stop_code = trained.encode(ends, labels)
        codes = latents.interpolate_linearly(start_code, stop_code, columns - 2)
        between = trained.decode(codes, np.repeat(labels[:1], len(codes)))
        first, last = ends[:, None] / 255
        rows.append(np.concatenate([first, between, last]))
    return plots.stack_rows(*rows)


def read_pictures(run: Path) -> list[Picture]:
    """Reads a few of the pictures that a run drew by epoch, the first and the last among them."""
    drawn = list(runs.pictures_by_epoch(run).items())
    if not drawn:
        return []
    chosen = np.unique(np.geomspace(1, len(drawn), _EPOCHS_SHOWN).round().astype(int)) - 1
    pictures = []
    for epoch, path in (drawn[place] for place in chosen):
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("L" if image.mode == "L" else "RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            print(f"warning: {path} cannot be read ({error}), and is left out", file=sys.stderr)
            continue
        pictures.append(Picture(pixels, f"epoch {epoch}", room=_ROW_WIDTH - 8))
    return pictures


def make_scatter(trained: Trained, images: Images) -> Scatter | None:
    """Returns the codes of the first test images in the plane; None if they cannot be drawn."""
    with skip_failed_picture("of codes"):
        return _scatter_codes(trained, images)
    return None


def _scatter_codes(trained: Trained, images: Images) -> Scatter:
    """Returns codes of the first test images, projected onto two dimensions if they have more."""
    count = min(_POINTS, len(images.test))
    shown, labels = images.test[:count], images.test_labels[:count]
    codes = trained.encode(shown, labels).reshape(count, -1)
    size = codes.shape[1]
    if size > 2:
        vectors = codes.reshape(count, 1, 1, size)
        codes = metrics.fit_pca(vectors, min(2, count)).encode(vectors)
        axes = ("the first principal component of the codes", "the second")
        text = f"The {size} numbers of each code, projected onto the first two principal components"
    else:
        axes = ("the code's first number", "its second")
        text = "The two numbers of each code" if size == 2 else "The one number of each code"
    return Scatter(
        "Codes",
        f"{text}, for the first {count:,} test images. Point at one to see its image, class and "
        "number; click the name of a class to see it alone.",
        np.pad(codes, ((0, 0), (0, 2 - codes.shape[1]))),
        labels,
        images.dataset.class_names,
        shown,
        axes,
    )
