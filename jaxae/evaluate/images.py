"""The images that a run is evaluated on."""

from dataclasses import dataclass

import numpy as np

from jaxae import data, runs


@dataclass(frozen=True)
class Images:
    """A dataset, and its images as the run's networks read them.

    They are never corrupted: runs of denoise.py, which test on noisy images, are evaluated on
    clean ones.
    """

    dataset: data.Dataset
    train: np.ndarray  # uint8 [N, H, W, C], the dataset's, or binarized once
    train_labels: np.ndarray  # int32 [N]
    test: np.ndarray  # uint8 [M, H, W, C], likewise
    test_labels: np.ndarray  # int32 [M]
    binarization: runs.Binarization


def make_images(dataset: data.Dataset, how: runs.Binarization) -> Images:
    """Returns a dataset's images, all in memory, binarized once if the run binarized them."""
    if how == "none":
        train, test = dataset.train.images, dataset.test.images
    else:
        train, test = (
            binarize(dataset).images for binarize in (runs.binarized_train, runs.binarized_test)
        )
    labels = (np.asarray(split.labels) for split in (dataset.train, dataset.test))
    train_labels, test_labels = labels
    return Images(dataset, np.asarray(train), train_labels, np.asarray(test), test_labels, how)
