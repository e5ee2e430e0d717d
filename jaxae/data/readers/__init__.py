"""Readers of a user's own data: folders of pictures, arrays, tables, Hugging Face datasets."""

from jaxae.data.readers import hub
from jaxae.data.readers.arrays import ARRAYS, open_set
from jaxae.data.readers.huggingface import open_dataset
from jaxae.data.readers.listing import name_of, size_and_time
from jaxae.data.readers.numbers import CHUNK_BYTES
from jaxae.data.readers.parallel import MANY, count_decoders, open_bar
from jaxae.data.readers.pictures import PICTURES
from jaxae.data.readers.tables import TABLES

__all__ = [
    "ARRAYS",
    "CHUNK_BYTES",
    "MANY",
    "PICTURES",
    "TABLES",
    "count_decoders",
    "hub",
    "name_of",
    "open_bar",
    "open_dataset",
    "open_set",
    "size_and_time",
]
