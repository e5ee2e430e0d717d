"""The evaluation of a run: figures of its images and codes, and a page that shows them."""

from jaxae.evaluate.classifier import FEATURES_NOTE
from jaxae.evaluate.command import Options, evaluate_run, start
from jaxae.evaluate.figures import choose_prior
from jaxae.evaluate.images import (
    Images,
    Range,
    as_floats,
    encode,
    make_images,
    scaled,
    take,
    with_labels_only,
)
from jaxae.evaluate.pictures import read_pictures, scatter_codes

__all__ = [
    "FEATURES_NOTE",
    "Images",
    "Options",
    "Range",
    "as_floats",
    "choose_prior",
    "encode",
    "evaluate_run",
    "make_images",
    "read_pictures",
    "scaled",
    "scatter_codes",
    "start",
    "take",
    "with_labels_only",
]
