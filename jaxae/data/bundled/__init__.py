"""The subsets that come with the package: one .npz file per dataset, made by `make`."""

from importlib import resources

import numpy as np

from jaxae.data import prepared
from jaxae.data.dataset import MINI_SUFFIX, Dataset, Split, assemble

NAMES = tuple(name + MINI_SUFFIX for name in prepared.VERIFIED)


def load(name: str) -> Dataset:
    """Returns the subset of this name, one of `NAMES`."""
    file = resources.files(__name__) / f"{name.removesuffix(MINI_SUFFIX)}.npz"
    with file.open("rb") as stream, np.load(stream) as arrays:
        train, test = (
            Split(arrays[f"{split}_images"], arrays[f"{split}_labels"].astype(np.int32))
            for split in ("train", "test")
        )
        return assemble(name, train, test, tuple(arrays["class_names"].tolist()))
