"""Figures of generated examples: how they compare with real ones by their features."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from jaxae import metrics
from jaxae.data import Split
from jaxae.evaluate import classifier
from jaxae.evaluate.images import Images, parts
from jaxae.evaluate.judge import Judge

Figures = dict[str, float]


@dataclass(frozen=True, eq=False)
class Described:
    """The features of N examples, and the probabilities of their classes."""

    features: np.ndarray  # float32 [N, D]
    probabilities: np.ndarray | None  # float32 [N, classes]; None without a good classifier


def describe(judge: Judge, groups: Iterable[np.ndarray]) -> Described:
    """Returns the features of examples that come a few at a time, [n, ...] each."""
    assert judge.extractor is not None
    features, probabilities = [], []
    for group in groups:
        group = judge.numbers.to_unit(group)
        features.append(judge.extractor.features(group))
        if judge.scores_classes:
            assert judge.classifier is not None
            probabilities.append(classifier.probabilities(judge.classifier, features[-1]))
    return Described(
        np.concatenate(features), np.concatenate(probabilities) if probabilities else None
    )


def compare(generated: Described, real: Described, *, seed: int) -> Figures:
    """Returns how generated examples compare with real ones."""
    precision, recall = metrics.precision_and_recall(real.features, generated.features)
    figures = {
        "fid": metrics.frechet_distance(generated.features, real.features),
        "kid": metrics.kernel_distance(generated.features, real.features, seed=seed).mean,
        "precision": precision,
        "recall": recall,
    }
    if generated.probabilities is not None:
        figures["inception_score"] = metrics.inception_score(generated.probabilities)
    return figures


def describe_real(judge: Judge, images: Images, count: int) -> Described | None:
    """Returns the features of test images, which are not binarized; None if the judge has none."""
    if judge.extractor is None:
        return None
    return describe(judge, _images_of(images.some(images.dataset.test, count)))


def reference_figures(
    judge: Judge, images: Images, real: Described, *, count: int, seed: int
) -> Figures:
    """Returns the figures of training images in the place of generated ones."""
    training = images.some(images.dataset.train, count)
    return compare(describe(judge, _images_of(training)), real, seed=seed)


def _images_of(split: Split) -> Iterator[np.ndarray]:
    """Yields a split's images a few at a time."""
    return (part.images for part in parts(split))
