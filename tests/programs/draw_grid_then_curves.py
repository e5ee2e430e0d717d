"""Tiles images, then draws curves; prints the names of all modules imported after each, in a line.

python draw_grid_then_curves.py
"""

import sys

import numpy as np

from jaxae import plots


def main() -> None:
    """Draws both, and keeps neither."""
    plots.tile(np.zeros((1, 2, 2, 1)), 1)
    print(*sys.modules)
    plots.curves([1, 2], {"loss": [1, 2]}, "loss", "mnist")
    print(*sys.modules)


if __name__ == "__main__":
    main()
