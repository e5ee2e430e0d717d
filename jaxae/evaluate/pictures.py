"""Curves, reconstructions, samples, interpolations and codes for the page of an evaluated run."""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxae import latents, metrics, pages, plots, priors, runs
from jaxae.errors import UserError
from jaxae.evaluate.images import Images, encode, reconstruct, take
from jaxae.network import Trained
from jaxae.pages import Chart, Gallery, Picture, Scatter
from jaxae.priors import Prior
from jaxae.runs import skip_failed_picture

_POINTS = 2000  # test images whose codes are drawn, at most
_SHEET_NUMBERS = 2**21  # in all their thumbnails
_SPRITE_NUMBERS = 32**2  # at most, in each channel of a thumbnail
_LARGEST_CELL = 96  # pixels a side of an image in a picture
_ROW_WIDTH = 600  # pixels for images side by side; labels and gaps need the rest of the page
_MOST_COLUMNS = 12
_ROWS = 6  # in a grid of images
_MOST_CHARTS = 6
_EPOCHS_SHOWN = 3
_PAGE_WIDTH = 672
_SPLITS = {"training": "train", "test": "test", "validation": "validation"}
_CHART_TITLES = {
    "psnr": "PSNR, dB",
    "kl": "KL, nats",
    "negative_elbo": "Negative ELBO, nats",
    "perplexity": "Perplexity of the codebook",
}


def make_charts(lines: Sequence[Mapping[str, Any]], loss_unit: str = "") -> tuple[Chart, ...]:
    """Returns charts of the loss and other recorded figures by epoch, for all splits."""
    if not lines:
        return ()
    latest = {name: value for line in lines for name, value in line.items()}
    names = [name.removeprefix("test_") for name in latest if name.startswith("test_")] or ["loss"]
    own = [name for name in names if not name.endswith(("_std", "_replicas")) and name != "mse"]
    loss = latest.get("test_loss")
    own = [name for name in own if name == "loss" or latest[f"test_{name}"] != loss]
    chosen = sorted(own, key=lambda name: (name != "loss", name != "psnr"))[:_MOST_CHARTS]
    epochs = np.array([line["epoch"] for line in lines])

    def title(name: str) -> str:
        if name in ("loss", "reconstruction") and loss_unit:
            return f"{name.capitalize()}, {loss_unit}"
        return _CHART_TITLES.get(name, name.replace("_", " ").capitalize())

    return tuple(
        Chart(
            title(name),
            epochs,
            {
                split: runs.curve(lines, f"{prefix}_{name}")
                for split, prefix in _SPLITS.items()
                if f"{prefix}_{name}" in latest
            },
        )
        for name in chosen
    )


def make_galleries(
    run: Path, trained: Trained, images: Images, generated: Mapping[Prior, np.ndarray]
) -> tuple[Gallery, ...]:
    """Returns reconstructions, those that the run drew by epoch, samples and interpolations.

    Vectors have only what the run drew.
    """
    given = "" if trained.classes is None else " with the labels of the test images, in their order"
    pairs, samples, paths = [], [], []
    if not images.are_vectors:
        columns = _columns_of(images)
        with skip_failed_picture("of reconstructions"):
            pairs.append(Picture(_reconstructions(trained, images, columns // 2)))
        for prior, new in generated.items():
            with skip_failed_picture("of samples"):
                cells = plots.in_rows(_cells(images, new[: _ROWS * columns]), columns)
                drawn = plots.labeled_grid([cells], most=_ROW_WIDTH)
                samples.append(Picture(drawn, priors.DESCRIPTIONS[prior]))
        with skip_failed_picture("of interpolations"):
            paths.append(Picture(_interpolations(trained, images, columns)))
    galleries = [
        Gallery(
            "Reconstructions",
            "Test images, and in the same places on the right their reconstructions.",
            tuple(pairs),
        ),
        Gallery(
            "Reconstructions by epoch",
            "Drawn by the run while it trained.",
            _by_epoch(run, shown_above=bool(pairs)),
        ),
        Gallery("Samples", f"Decoded codes{given}.", tuple(samples)),
        Gallery(
            "Interpolations",
            "From a test image on the left to another on the right: between them, decoded codes at "
            "equal steps on the line between theirs.",
            tuple(paths),
        ),
    ]
    return tuple(gallery for gallery in galleries if gallery.pictures)


def _by_epoch(run: Path, *, shown_above: bool) -> tuple[Picture, ...]:
    """Returns what the run drew by epoch, unless that is one epoch and is shown above."""
    drawn = tuple(read_pictures(run))
    return () if shown_above and len(drawn) < 2 else drawn


def _columns_of(images: Images) -> int:
    """Returns how many images fit side by side, which is so many that they can be doubled."""
    height, width = images.test.images.shape[1:3]
    drawn = max(1, round(width * min(1, _LARGEST_CELL / max(height, width))))  # as in `_cells`
    return max(4, min(_ROW_WIDTH // 2 // drawn, _MOST_COLUMNS))


def _cells(images: Images, values: np.ndarray) -> np.ndarray:
    """Returns images as they are drawn, uint8; large ones are reduced."""
    return pages.shrink(plots.drawable(images.range.to_unit(values)), _LARGEST_CELL)


def _reconstructions(trained: Trained, images: Images, columns: int) -> np.ndarray:
    """Draws test images on the left, and their reconstructions on the right."""
    shown = images.some(images.test, columns * _ROWS)
    pair = (shown.images, reconstruct(trained, shown))
    originals, reconstructions = (_cells(images, each) for each in pair)
    return plots.labeled_reconstructions(
        originals, reconstructions, _ROWS, columns, most=_ROW_WIDTH
    )


def _interpolations(trained: Trained, images: Images, columns: int) -> np.ndarray:
    """Draws a row per pair of test images: themselves at its ends, decoded codes between them."""
    firsts, between, lasts = [], [], []
    for ends in _pairs(images, conditional=trained.classes is not None):
        pair = take(images.test, ends)
        labels = None if pair.labels is None else np.repeat(pair.labels[:1], columns - 2)
        start, stop = encode(trained, pair)
        codes = latents.interpolate_linearly(start, stop, columns - 2)
        between.append(_cells(images, trained.decode(codes, labels)))
        first, last = _cells(images, pair.images)[:, None]
        firsts.append(first)
        lasts.append(last)
    return plots.labeled_grid(
        [np.stack(firsts), np.stack(between), np.stack(lasts)],
        headings=("image", "linear", "image"),
        most=_ROW_WIDTH,
    )


def _pairs(images: Images, *, conditional: bool) -> list[np.ndarray]:
    """Returns indices [2] of the test images at the ends of each row.

    They are of two classes or, since a conditional network decodes a row under one label, of one.
    Without classes they are any two images.
    """
    labels = images.test.labels
    classes = np.array([]) if labels is None else np.unique(labels[labels >= 0])
    if len(classes) < 2 and not conditional:
        size = len(images.test.images)
        if size < 2:
            raise UserError("there is no second test image to draw a path to")
        return list(images.choose(size, 2 * min(_ROWS, max(1, size // 2))).reshape(-1, 2))
    members = [np.flatnonzero(labels == label) for label in classes[:_ROWS]]
    firsts = np.array([indices[0] for indices in members])
    lasts = [indices[-1] for indices in members] if conditional else np.roll(firsts, -1)
    return list(np.stack([firsts, lasts], axis=1))


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
                image.thumbnail((_PAGE_WIDTH, image.height), Image.Resampling.LANCZOS)
                pixels = np.asarray(image.convert("L" if image.mode == "L" else "RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            print(f"warning: {path} cannot be read ({error}), and is left out", file=sys.stderr)
            continue
        pictures.append(Picture(pixels, f"epoch {epoch}", room=_PAGE_WIDTH // 2))
    return pictures


def make_scatter(trained: Trained, images: Images) -> Scatter | None:
    """Returns the codes of some test images in the plane; None if they cannot be drawn."""
    with skip_failed_picture("of codes"):
        return scatter_codes(trained, images)
    return None


def scatter_codes(trained: Trained, images: Images) -> Scatter:
    """Returns codes of some test images, projected onto two dimensions if they have more."""
    size = len(images.test.images)
    chosen = images.choose(size, _points(images))
    shown = take(images.test, chosen)
    count = len(chosen)
    codes = encode(trained, shown).reshape(count, -1)
    dimensions = codes.shape[1]
    if dimensions > 2:
        codes = metrics.fit_pca(codes, min(2, count)).encode(codes)
        axes = ("the first principal component of the codes", "the second")
        text = (
            f"The {dimensions} numbers of each code, projected onto the first two principal "
            "components"
        )
    else:
        axes = ("the code's first number", "its second")
        text = "The two numbers of each code" if dimensions == 2 else "The one number of each code"
    noun = "vector" if images.are_vectors else "image"
    chose = "the first " if chosen[-1] == count - 1 else ""
    labels, class_names = named_labels(images, shown.labels)
    parts = ["image"] * (not images.are_vectors) + ["class"] * (labels is not None) + ["number"]
    seen = " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
    alone = "" if labels is None else "; click the name of a class to see it alone"
    return Scatter(
        "Codes",
        f"{text}, for {chose}{count:,} test {noun}s. Point at one to see its {seen}{alone}.",
        np.pad(codes, ((0, 0), (0, 2 - codes.shape[1]))),
        labels,
        class_names,
        None if images.are_vectors else plots.drawable(images.range.to_unit(shown.images)),
        axes,
        None if chosen[-1] == count - 1 else chosen,
        noun,
    )


def _points(images: Images) -> int:
    """Returns how many codes are drawn: fewer if their thumbnails are in color."""
    if images.are_vectors:
        return _POINTS
    *sides, channels = images.test.images.shape[1:]
    return min(_POINTS, _SHEET_NUMBERS // (channels * min(math.prod(sides), _SPRITE_NUMBERS)))


def named_labels(
    images: Images, labels: np.ndarray | None
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Returns labels with a class for unknown ones, and the classes' names; None without labels."""
    names = images.dataset.class_names
    if labels is None or (labels < 0).all():
        return None, ()
    if (labels >= 0).all():
        return labels, names
    return np.where(labels < 0, len(names), labels), (*names, "unknown")
