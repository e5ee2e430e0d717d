"""Sets that TFDS has prepared, and their preparation from original archives without TensorFlow."""

from jaxae.data.prepared.archives import UnobtainableError
from jaxae.data.prepared.archives import find as find_archives
from jaxae.data.prepared.archives import list_files as list_archives
from jaxae.data.prepared.decoding import decode, open_stream, stream_fingerprint
from jaxae.data.prepared.originals import ORIGINALS
from jaxae.data.prepared.preparation import download_problem, prepare
from jaxae.data.prepared.preparation import version as prepared_version
from jaxae.data.prepared.sets import DATASET_INFO, find, fingerprint, read, split_version
from jaxae.data.prepared.verified import ARRAYS as VERIFIED

__all__ = [
    "DATASET_INFO",
    "ORIGINALS",
    "VERIFIED",
    "UnobtainableError",
    "decode",
    "download_problem",
    "find",
    "find_archives",
    "fingerprint",
    "list_archives",
    "open_stream",
    "prepare",
    "prepared_version",
    "read",
    "split_version",
    "stream_fingerprint",
]
