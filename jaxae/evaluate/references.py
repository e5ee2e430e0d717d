"""Figures of baselines and of training images, to compare a network's figures with."""

import math

import numpy as np

from jaxae import metrics
from jaxae.data import Split
from jaxae.evaluate import generation
from jaxae.evaluate.codes import probe
from jaxae.evaluate.figures import EvaluationSettings, learned_images, with_prefix
from jaxae.evaluate.generation import Described, Figures
from jaxae.evaluate.images import Images, encode, take
from jaxae.evaluate.judge import Judge, LeftOut
from jaxae.evaluate.reconstruction import reconstruction_figures
from jaxae.network import Trained

_LARGEST_PCA = 5000  # numbers in an image; PCA takes their square in memory, their cube in time


def reference_figures(
    trained: Trained,
    images: Images,
    settings: EvaluationSettings,
    judge: Judge,
    real: Described | None,
) -> tuple[Figures, LeftOut]:
    """Returns figures to compare a network's figures with, and what is left out.

    These are probes of pixels; reconstructions and probes of as many principal components as a code
    has numbers, unless images are large; and the figures of training images in the place of
    generated ones.
    """
    figures: Figures = {}
    if real is not None:
        compared = generation.reference_figures(
            judge, images, real, count=settings.generated, seed=settings.seed
        )
        figures |= with_prefix("training_", compared)
    learned = learned_images(images, settings)
    test = images.some(images.test, settings.baseline)
    if images.why_no_classes is None:
        figures |= with_prefix("pixels_", probe(learned, test))
    numbers = math.prod(images.test.images.shape[1:])
    if numbers > _LARGEST_PCA:
        reason = f"the images have {numbers:,} numbers each, and it takes {_LARGEST_PCA:,} at most"
        return figures, {"PCA": reason}
    code = encode(trained, take(images.test, slice(1)))
    pixels = learned.images[:]
    pca = metrics.fit_pca(pixels, min(code.size, numbers, len(pixels)))
    scale = np.float32(255 if pixels.dtype == np.uint8 else 1)
    figures |= with_prefix(
        "pca_",
        reconstruction_figures(lambda part: pca.reconstruct(part.images) / scale, images),
    )
    if images.why_no_classes is None:
        components = (Split(pca.encode(split.images[:]), split.labels) for split in (learned, test))
        figures |= with_prefix("pca_", probe(*components))
    return figures, {}
