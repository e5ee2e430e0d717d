"""The same test images, reconstructed by each row of a comparison."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxae import devices, evaluate, runs
from jaxae.comparison.listing import Listed
from jaxae.comparison.rows import Comparison, Row
from jaxae.data import Split
from jaxae.errors import UserError
from jaxae.evaluate import Images
from jaxae.pages import Picture, shrink
from jaxae.plots import drawable, tile

_WIDTH = 1008  # CSS pixels for images side by side
_FEWEST, _MOST = 6, 12  # images
_SCALE = 3  # CSS pixels of a pixel, if so many images fit
_LARGEST_CELL = 96  # pixels a side of an image


@dataclass(frozen=True)
class Reconstructions:
    """Test images of one dataset, and their reconstructions by rows of a comparison."""

    title: str  # the dataset
    originals: Picture
    by_row: dict[int, Picture]  # by the row's number in the comparison


def draw_reconstructions(
    comparison: Comparison, *, data_dir: Path | None = None, sources: Path | None = None
) -> tuple[list[Reconstructions], list[str]]:
    """Draws what a replica of each row makes of the same test images.

    It is the first replica of the first of the row's runs that can be loaded.

    Args:
      comparison: the rows. Those of one dataset, binarized alike, share their images.
      data_dir: folder of the datasets that TFDS has prepared, in place of the user's default.
      sources: folder of original archives, in place of the user's default.

    Returns:
      The pictures of each dataset, and a sentence for each row that has none.
    """
    groups: dict[Any, list[int]] = {}
    for number, row in enumerate(comparison.rows):
        groups.setdefault(_images_key(row.runs[0]), []).append(number)
    drawn, notes = [], []
    for numbers in groups.values():
        first = comparison.rows[numbers[0]].runs[0]
        try:
            images = _load_images(first, data_dir, sources)
        except UserError as error:
            notes.append(f"{first.config.dataset.name} is left out: {error}.")
            continue
        shown, pictures = _choose(images), {}
        for number in numbers:
            try:
                pictures[number] = _reconstruct(comparison.rows[number], images, shown)
            except UserError as error:
                notes.append(f"{comparison.labels[number]} is left out: {error}.")
            devices.limit_programs()
        if pictures:
            originals = _draw(images, shown.images)
            drawn.append(Reconstructions(_title(first, images), originals, pictures))
    return drawn, notes


def _images_key(run: Listed) -> Any:
    """Returns what runs have in common whose networks read the same images."""
    dataset, binarized = run.config.dataset, run.config.options.binarization != "none"
    return dataset.fingerprint, dataset.image_shape, dataset.scaling, binarized


def _title(run: Listed, images: Images) -> str:
    """Returns the name and the size of images."""
    height, width = images.test.images.shape[1:3]
    binarized = "" if images.binarization == "none" else ", binarized"
    return f"{run.config.dataset.name}, {height}x{width}{binarized}"


def _load_images(run: Listed, data_dir: Path | None, sources: Path | None) -> Images:
    """Loads the images that a run's network reads; raises `UserError` for vectors."""
    if len(run.config.dataset.image_shape) == 1:
        raise UserError("its examples are vectors, which have no picture")
    dataset = runs.load_dataset(run.folder, run.config, data_dir=data_dir, sources=sources)
    return evaluate.make_images(dataset, run.config.options.binarization)


def _choose(images: Images) -> Split:
    """Returns a few test images, of those that have a label if any has."""
    labels, (height, width) = images.test.labels, images.test.images.shape[1:3]
    known = np.arange(len(images.test.images))
    if labels is not None and (labels >= 0).any():  # a conditional network reads no others
        known = np.flatnonzero(labels >= 0)
    drawn = max(1, round(width * min(1, _LARGEST_CELL / max(height, width))))
    count = min(max(_FEWEST, _WIDTH // (_SCALE * drawn)), _MOST)
    return evaluate.take(images.test, known[images.choose(len(known), count)])


def _reconstruct(row: Row, images: Images, shown: Split) -> Picture:
    """Draws the reconstructions by the first of a row's runs that can be loaded."""
    errors = []
    for run in row.runs:
        try:
            trained = evaluate.scaled(runs.load(run.folder))
            return _draw(images, trained.reconstruct(shown.images, shown.labels))
        except UserError as error:
            errors.append(error)
    raise errors[0]


def _draw(images: Images, values: np.ndarray) -> Picture:
    """Draws images side by side; large ones are reduced."""
    cells = shrink(drawable(images.range.to_unit(values)), _LARGEST_CELL)
    return Picture(tile(cells, len(cells)), room=_WIDTH)
