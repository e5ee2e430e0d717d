"""Loads the run in the folder `run`; prints the path of the package, and the shape of two codes."""

import numpy as np

import jaxae


def main() -> None:
    """Encodes two black images."""
    codes = jaxae.load("run").encode(np.zeros((2, 28, 28, 1), np.uint8))
    print(jaxae.__file__, codes.shape)


if __name__ == "__main__":
    main()
