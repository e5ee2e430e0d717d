"""Loads a prepared and the bundled MNIST, and prints the names of all imported modules.

    python load_sets.py DATA_DIR

Its argument is the folder of the prepared datasets.
"""

import sys
from pathlib import Path

from jaxae import data


def main(data_dir: str) -> None:
    """Loads both datasets."""
    data.load("mnist", data_dir=Path(data_dir))
    data.load("mnist_mini")
    print(*sys.modules)


if __name__ == "__main__":
    main(*sys.argv[1:])
