"""Datasets as arrays: bundled, prepared by TFDS, read from original archives, or a user's own.

`load` loads one by its name. A `Column` of a `StreamedSplit` stands for an array, read from disk.
"""

from jaxae.data.dataset import Dataset, Scaling, Split, assemble, sides_of
from jaxae.data.loading import check_data_dir, load, load_default
from jaxae.data.memory import from_arrays
from jaxae.data.own import find as find_own
from jaxae.data.own import shown as shown_name
from jaxae.data.reading import Reading
from jaxae.data.splits import hold_out
from jaxae.data.streaming import Column, StreamedSplit
from jaxae.data.validation import hold_out_validation
from jaxae.data.workers import open_reader

__all__ = [
    "Column",
    "Dataset",
    "Reading",
    "Scaling",
    "Split",
    "StreamedSplit",
    "assemble",
    "check_data_dir",
    "find_own",
    "from_arrays",
    "hold_out",
    "hold_out_validation",
    "load",
    "load_default",
    "open_reader",
    "shown_name",
    "sides_of",
]
