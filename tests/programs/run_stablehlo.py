"""Computes an exported StableHLO function of the arrays in a file, without jaxae.

    python run_stablehlo.py encoder.stablehlo inputs.npz outputs.npy

Prints the names of all imported modules.
"""

import sys
from pathlib import Path

import numpy as np
from jax import export


def main(function: str, inputs: str, output: str) -> None:
    """Calls the function with the arrays in the order of their names."""
    exported = export.deserialize(bytearray(Path(function).read_bytes()))
    with np.load(inputs) as arrays:
        result = exported.call(*(arrays[name] for name in sorted(arrays.files)))
    np.save(output, np.asarray(result))
    print(*sys.modules)


if __name__ == "__main__":
    main(*sys.argv[1:])
