"""Computes an exported ONNX function of the arrays in a file, without JAX.

    python run_onnx.py encoder.onnx inputs.npz outputs.npy

Prints the names of all imported modules.
"""

import sys

import numpy as np
import onnxruntime


def main(function: str, inputs: str, output: str) -> None:
    """Calls the function with the arrays in the order of their names."""
    session = onnxruntime.InferenceSession(function, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    with np.load(inputs) as arrays:
        given = {name: arrays[key] for name, key in zip(names, sorted(arrays.files), strict=True)}
    (result,) = session.run(None, given)
    np.save(output, np.asarray(result))
    print(*sys.modules)


if __name__ == "__main__":
    main(*sys.argv[1:])
