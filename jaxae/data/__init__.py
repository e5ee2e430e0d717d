"""Datasets as arrays: bundled, cached, prepared by TFDS, or read from their original archives.

`load` loads one by its name. A `Column` of a `StreamedSplit` stands for an array, read from disk.
"""

from jaxae.data.dataset import Dataset, Split, assemble
from jaxae.data.loading import check_data_dir, load, load_default
from jaxae.data.streaming import Column, StreamedSplit, read_batches

__all__ = [
    "Column",
    "Dataset",
    "Split",
    "StreamedSplit",
    "assemble",
    "check_data_dir",
    "load",
    "load_default",
    "read_batches",
]
