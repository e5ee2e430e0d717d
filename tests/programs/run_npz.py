"""Computes the codes of a dense encoder from its exported arrays, in NumPy alone.

    python run_npz.py variables.npz inputs.npz outputs.npy

Prints the names of all imported modules.
"""

import sys

import numpy as np


def main(variables: str, inputs: str, output: str) -> None:
    """Applies the layers, with ReLUs between them, and keeps the means of the posterior."""
    with np.load(variables) as arrays, np.load(inputs) as given:
        (name,) = given.files
        x = given[name].reshape(len(given[name]), -1) / 255
        places = [f"params/encoder/Dense_{number}" for number in range(2)]
        layers = [(arrays[f"{place}/kernel"], arrays[f"{place}/bias"]) for place in places]
    (kernel, bias), (last, last_bias) = layers
    numbers = np.maximum(x @ kernel + bias, 0) @ last + last_bias
    np.save(output, numbers[:, : numbers.shape[1] // 2])
    print(*sys.modules)


if __name__ == "__main__":
    main(*sys.argv[1:])
