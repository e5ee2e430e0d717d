"""Pictures of what codes can do: samples, paths, class arithmetic, traversals and neighbors."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from jaxae import evaluate, latents, plots, priors, runs
from jaxae.data import Split
from jaxae.errors import UserError
from jaxae.evaluate import Range
from jaxae.network import Trained


@dataclass(frozen=True)
class Group:
    """Images as the network reads them, and their codes."""

    images: np.ndarray  # [N, H, W, C]
    labels: np.ndarray | None  # int [N], -1 where unknown
    codes: np.ndarray  # float32 [N, *shape]

    @property
    def label(self) -> int | None:
        """The label that paths are decoded under, if there is one."""
        return None if self.labels is None else int(self.labels[0])


@dataclass(frozen=True)
class Decoder:
    """Decodes codes to images as they are drawn, floats in [0, 1]."""

    trained: Trained
    range: Range

    def __call__(self, codes: np.ndarray, label: int | None = None) -> np.ndarray:
        """Decodes codes, as images of a class if the network is conditional."""
        labels = None if label is None else np.full(len(codes), label)
        return self.drawn(self.trained.decode(codes, labels))

    def drawn(self, images: np.ndarray) -> np.ndarray:
        """Returns images of the dataset, or of the network, as floats in [0, 1]."""
        return evaluate.as_floats(self.range.to_unit(images)).clip(0, 1)


def encode_group(trained: Trained, split: Split) -> Group:
    """Returns images with their codes."""
    return Group(split.images[:], split.labels, evaluate.encode(trained, split))


def draw_samples(decoder: Decoder, sampler: priors.Sampler, seed: int) -> np.ndarray:
    """Draws a hundred images of new codes, ten a row, of the classes in turn if conditional."""
    codes = sampler(jax.random.fold_in(runs.fixed_keys().pictures, seed), 100)
    labels = np.arange(100) % (decoder.trained.classes or 1)
    images = decoder.drawn(decoder.trained.decode(codes, labels))
    return plots.labeled_grid([plots.in_rows(images, columns=10)])


def draw_interpolations(decoder: Decoder, test: Group, steps: int = 10) -> np.ndarray:
    """Draws two rows from each image to the next: along the line, and along the great circle."""
    if len(test.images) < 2:
        raise UserError("there is no second test image to draw a path to")
    images = decoder.drawn(test.images)
    paths = (latents.interpolate_linearly, latents.interpolate_spherically)
    pairs = [(i, path) for i in range(len(images) - 1) for path in paths]
    between = [
        decoder(path(test.codes[i], test.codes[i + 1], steps), test.label) for i, path in pairs
    ]
    starts = np.array([i for i, _ in pairs])
    return plots.labeled_grid(
        [images[starts][:, None], np.stack(between), images[starts + 1][:, None]],
        headings=("image", "decoded", "image"),
        row_labels=("linear", "spherical") * (len(images) - 1),
        rows_together=2,
    )


def draw_arithmetic(
    decoder: Decoder, train: Group, test: Group, class_names: Sequence[str]
) -> np.ndarray:
    """Draws a row per image: itself, and its code moved to each of the first ten classes."""
    if train.labels is None or test.labels is None:
        raise UserError("the data has no labels, and the codes of classes are needed")
    known = np.flatnonzero(train.labels >= 0)
    classes, numbers = np.unique(train.labels[known], return_inverse=True)
    missing = np.setdiff1d(test.labels, classes)
    if missing.size:
        raise UserError(
            f"class {missing[0]} of a test image is not among {len(known)} training images: "
            "give more of them with --fit-images, or --images of other classes"
        )
    means = latents.class_means(train.codes[known], numbers)
    own = means[np.searchsorted(classes, test.labels)]
    moved = [
        decoder(latents.add_difference(test.codes, own, mean), int(label))
        for label, mean in list(zip(classes, means, strict=True))[:10]
    ]
    return plots.labeled_grid(
        [decoder.drawn(test.images)[:, None], np.stack(moved, axis=1)],
        headings=("image", "moved to the class"),
        column_labels=("", *(str(class_names[label]) for label in classes[:10])),
        row_labels=[str(class_names[label]) for label in test.labels],
    )


def draw_traversal(decoder: Decoder, train: Group, test: Group) -> np.ndarray:
    """Draws a row for each of the dimensions of greatest variance, ten at most."""
    deviation = train.codes.std(axis=0)
    dimensions = np.argsort(-deviation, axis=None, kind="stable")[:10]
    mean, scale = train.codes.mean(axis=0), np.where(deviation > 0, deviation, 1)
    values = np.linspace(-2.5, 2.5, 11)
    standardized = latents.traverse((test.codes[0] - mean) / scale, values, dimensions.tolist())
    codes = mean + scale * standardized.reshape(-1, *mean.shape)
    sigma = "\N{GREEK SMALL LETTER SIGMA}"
    return plots.labeled_grid(
        [plots.in_rows(decoder(codes, test.label), columns=len(values))],
        column_labels=[f"{value:+g}{sigma}" if value else "mean" for value in values],
        row_labels=[f"unit {dimension}" for dimension in dimensions],
    )


def draw_neighbors(decoder: Decoder, train: Group, test: Group, count: int = 5) -> np.ndarray:
    """Draws a row per image: itself, its nearest images by code, and the nearest by pixels."""
    count = min(count, len(train.images))
    by_code = latents.nearest_neighbors(test.codes, train.codes, count)
    by_pixels = latents.nearest_neighbors(test.images, train.images, count)
    images = decoder.drawn(test.images)
    near, alike = (decoder.drawn(train.images[found]) for found in (by_code, by_pixels))
    return plots.labeled_grid(
        [images[:, None], near, alike],
        headings=("image", "nearest codes", "nearest pixels"),
    )
