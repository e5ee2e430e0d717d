"""The evaluation of a run: figures of its images and codes, and a page that shows them."""

from jaxae.evaluate.classifier import FEATURES_NOTE
from jaxae.evaluate.command import Options, choose_step, evaluate_run, start
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
from jaxae.evaluate.page import experiment_name
from jaxae.evaluate.pictures import named_labels, read_pictures, scatter_codes
from jaxae.evaluate.progress import stage

__all__ = [
    "FEATURES_NOTE",
    "Images",
    "Options",
    "Range",
    "as_floats",
    "choose_prior",
    "choose_step",
    "encode",
    "evaluate_run",
    "experiment_name",
    "make_images",
    "named_labels",
    "read_pictures",
    "scaled",
    "scatter_codes",
    "stage",
    "start",
    "take",
    "with_labels_only",
]
