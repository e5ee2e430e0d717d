"""The operations of images that move a window, as ONNX nodes: convolutions, pools, upsampling."""

from collections.abc import Sequence

import numpy as np

from jaxae.exports.onnx_graph import Graph, Value
from jaxae.models import Operation, Shape


def convolve(graph: Graph, operation: Operation, value: Value) -> Value:
    """Adds a convolution, or a transposed one if the operation spreads its input out."""
    value = graph.with_channels_first(value)
    if operation.settings["dilation"] > 1:
        return _convolve_transposed(graph, operation, value)
    kernel = operation.arrays["kernel"]
    stride = operation.settings["stride"]
    attributes = {
        "strides": [stride] * 2,
        "pads": _pads(operation, value.shape, kernel.shape[:2]),
        "kernel_shape": list(kernel.shape[:2]),
    }
    weights = graph.constant(kernel.transpose(3, 2, 0, 1)), graph.constant(operation.arrays["bias"])
    name = graph.node("Conv", [value.name, *weights], attributes)
    return _fitted(graph, name, operation.shape)


def _convolve_transposed(graph: Graph, operation: Operation, value: Value) -> Value:
    """Adds a transposed convolution, whose kernel is mirrored and adds to what it overlaps.

    Without padding its output begins `taps` - 1 - `low` before the operation's. Where the operation
    reads only zeros at the end, the output is padded.
    """
    kernel, stride = operation.arrays["kernel"], operation.settings["dilation"]
    begin, end, extra = [], [], []
    sides = zip(
        kernel.shape[:2],
        operation.settings["low"],
        value.shape[:2],
        operation.shape[:2],
        strict=True,
    )
    for taps, low, size, output in sides:
        before = taps - 1 - low
        after = stride * (size - 1) + taps - before - output
        begin.append(before)
        end.append(max(after, 0))
        extra.append(max(-after, 0))
    attributes = {
        "strides": [stride] * 2,
        "pads": begin + end,
        "output_padding": extra,
        "kernel_shape": list(kernel.shape[:2]),
    }
    mirrored = kernel[::-1, ::-1].transpose(2, 3, 0, 1)
    weights = graph.constant(mirrored), graph.constant(operation.arrays["bias"])
    name = graph.node("ConvTranspose", [value.name, *weights], attributes)
    return _fitted(graph, name, operation.shape)


def pool(graph: Graph, operation: Operation, value: Value) -> Value:
    """Adds a max-pool."""
    value = graph.with_channels_first(value)
    window = [operation.settings["window"]] * 2
    attributes = {
        "kernel_shape": window,
        "strides": [operation.settings["stride"]] * 2,
        "pads": _pads(operation, value.shape, window),
    }
    return _fitted(graph, graph.node("MaxPool", [value.name], attributes), operation.shape)


def upsample(graph: Graph, operation: Operation, value: Value) -> Value:
    """Adds an upsampling, whose last rows and columns are cut off."""
    value = graph.with_channels_first(value)
    factor = operation.settings["factor"]
    attributes = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    scales = graph.constant([1, 1, factor, factor])
    name = graph.node("Resize", [value.name, "", scales], attributes)
    return _fitted(graph, name, operation.shape)


def _pads(operation: Operation, shape: Shape, window: Sequence[int]) -> list[int]:
    """Returns the padding at both beginnings and both ends, so that every output has its pixels."""
    stride, low = operation.settings["stride"], operation.settings["low"]
    sides = zip(operation.shape[:2], window, low, shape[:2], strict=True)
    high = [stride * (output - 1) + taps - before - size for output, taps, before, size in sides]
    return [*low, *np.maximum(high, 0).tolist()]


def _fitted(graph: Graph, name: str, shape: Shape) -> Value:
    """Returns an image [N, C, H, W] without the rows and columns beyond a shape."""
    whole = Value(name, shape, channels_first=True)
    return Value(graph.cropped(whole, {2: shape[0], 3: shape[1]}), shape, channels_first=True)
