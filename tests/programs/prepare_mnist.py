"""Loads a small MNIST from archives, and prepares it if needed; prints its fingerprint.

    python prepare_mnist.py DATA_DIR SOURCES

Its arguments are the folder of the prepared datasets, and the folder of the archives.
"""

import sys
from pathlib import Path
from unittest import mock

from jaxae import data
from jaxae.data.prepared import verified
from support import tiny


def main(data_dir: str, sources: str) -> None:
    """Loads MNIST with the archives of `support.tiny` in place of the originals."""
    with mock.patch.dict(verified.ARRAYS, {"mnist": tiny.original(tiny.arrays(seed=0))}):
        print(data.load("mnist", data_dir=Path(data_dir), sources=Path(sources)).fingerprint)


if __name__ == "__main__":
    main(*sys.argv[1:])
