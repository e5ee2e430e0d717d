"""Chooses the features by which generated examples are compared with real ones."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from jaxae.evaluate import classifier, contrastive, extractors
from jaxae.evaluate.extractors import TrainedExtractor
from jaxae.evaluate.images import Images, Range

LeftOut = dict[str, str]
"""What an evaluation leaves out, and why."""

LEAST_COMPARED = 10  # examples; fewer have too few neighbors for precision and recall

_MOST_DIMENSIONS = 512  # of vectors that are compared as they are
_FIGURES = "FID, KID, precision and recall"


class FeatureExtractor(Protocol):
    """Gives features of examples, by which sets of examples are compared."""

    @property
    def kind(self) -> str:
        """One word for the features."""
        ...

    def features(self, images: np.ndarray, /) -> np.ndarray:
        """Returns features: examples [N, ...] -> float32 [N, D]."""
        ...

    def describe(self) -> dict[str, Any]:
        """Returns what evaluation.json says of the features besides their kind."""
        ...


@dataclass(frozen=True, eq=False)
class StandardizedVectors:
    """The numbers of vectors themselves, standardized by the training vectors."""

    mean: np.ndarray  # float32 [D]
    deviation: np.ndarray  # float32 [D]; 1 for numbers that are constant
    kind: str = "vectors"

    def features(self, images: np.ndarray, /) -> np.ndarray:
        """Returns vectors [N, D] standardized, float32 [N, D]."""
        return ((images - self.mean) / self.deviation).astype(np.float32)

    def describe(self) -> dict[str, Any]:
        """Returns nothing: there is no network and no setting."""
        return {}


VECTORS_NOTE = (
    "Both distances, precision and recall compare the vectors themselves, each number standardized "
    "by the training vectors."
)


@dataclass(frozen=True, eq=False)
class Judge:
    """The features that were chosen for a dataset.

    Attributes:
      extractor: gives the features; None if examples cannot be compared.
      numbers: the range of images, which features are given in [0, 1].
      note: says in words what the features are.
      classifier: the classifier of the dataset's classes, if one was trained, good or not.
      left_out: figures that cannot be computed on this dataset.
    """

    extractor: FeatureExtractor | None
    numbers: Range = Range()
    note: str = ""
    classifier: TrainedExtractor | None = None
    left_out: LeftOut = field(default_factory=dict)

    @property
    def scores_classes(self) -> bool:
        """Whether the classifier is good, so that the Inception Score means something."""
        return self.classifier is not None and self.classifier is self.extractor

    def describe(self) -> dict[str, Any] | None:
        """Returns what evaluation.json says of the features; None if there are none."""
        if self.extractor is None:
            return None
        return {"kind": self.extractor.kind, "note": self.note, **self.extractor.describe()}

    def describe_classifier(self) -> dict[str, Any] | None:
        """Returns what evaluation.json says of the classifier, good or not; None without one."""
        if self.classifier is None:
            return None
        return {**self.classifier.describe(), "chance": classifier.chance(self.classifier)}


def choose_judge(images: Images) -> Judge:
    """Returns a dataset's classifier if it is good, else features that need no labels.

    A classifier near chance has features that find gray images as good as real ones. Vectors are
    compared as they are, unless they have too many numbers.
    """
    size = len(images.test.images)
    if size < LEAST_COMPARED:
        few = f"there are {size} test examples, and {LEAST_COMPARED} are needed"
        return Judge(None, left_out={_FIGURES: few})
    if images.are_vectors:
        return _judge_of_vectors(images)
    reason, trained, note = images.why_no_classes, None, contrastive.NOTE
    if reason is None:
        trained = extractors.load_or_train(classifier.make_task(images))
        if classifier.is_good(trained):
            return Judge(trained, images.range, classifier.FEATURES_NOTE, trained)
        reason = (
            f"the classifier has an accuracy of {trained.accuracy:.3f} on the test images, where "
            f"the largest class alone would give {classifier.chance(trained):.3f}"
        )
        note = f"{note} The features of a classifier of its labels are not used: {reason}."
    extractor = extractors.load_or_train(contrastive.make_task(images))
    return Judge(extractor, images.range, note, trained, {"Inception Score": reason})


def _judge_of_vectors(images: Images) -> Judge:
    """Returns the judge of vectors [N, D]."""
    vectors = np.asarray(images.train.images)
    if vectors.shape[1] > _MOST_DIMENSIONS:
        reason = f"vectors of more than {_MOST_DIMENSIONS} numbers have no features to compare"
        return Judge(None, left_out={_FIGURES: reason})
    deviation = vectors.std(axis=0)
    extractor = StandardizedVectors(vectors.mean(axis=0), np.where(deviation > 0, deviation, 1))
    return Judge(extractor, note=VECTORS_NOTE)
