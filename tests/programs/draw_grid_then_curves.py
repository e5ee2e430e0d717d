"""Tiles images, then draws curves, and prints the names of all imported modules after each.

    python draw_grid_then_curves.py

It takes no arguments.
"""

import sys

import numpy as np

from jaxae import plots


def main() -> None:
    """Draws both, and saves neither."""
    plots.tile(np.zeros((1, 2, 2, 1)), 1)
    print(*sys.modules)
    plots.curves([1, 2], {"loss": [1, 2]}, "loss", "mnist")
    print(*sys.modules)


if __name__ == "__main__":
    main()
