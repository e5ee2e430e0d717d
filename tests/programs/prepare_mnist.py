"""Loads a small MNIST from archives, which prepares it if nobody has; prints its fingerprint.

python prepare_mnist.py DATA_DIR SOURCES
"""

import sys
from pathlib import Path
from unittest import mock

from jaxae import data
from jaxae.data import archives
from support import tiny


def main(data_dir: str, sources: str) -> None:
    """Takes the archives of `support.tiny` for the original ones."""
    with mock.patch.dict(archives.ORIGINALS, {"mnist": tiny.original(tiny.arrays(seed=0))}):
        print(data.load("mnist", data_dir=Path(data_dir), sources=Path(sources)).fingerprint)


if __name__ == "__main__":
    main(*sys.argv[1:])
