"""Each kind of operation of `jaxae.models` as a few ONNX nodes."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from jaxae.exports import onnx_windows
from jaxae.exports.onnx_graph import Graph, Value
from jaxae.models import Operation

_NEAR_ZERO = 0.5  # the closed form of the mean below loses digits where logits are smaller


def add_operations(
    graph: Graph, operations: Sequence[Operation], value: Value, labels: str | None
) -> Value:
    """Adds operations to a graph, and returns their result with its channels last.

    Args:
      graph: the graph to add to.
      operations: those of a `Program`.
      value: the tensor that the first operation reads.
      labels: the name of the labels, if there are any.
    """
    kept: list[Value] = []
    for operation in operations:
        if operation.kind == "keep":
            kept.append(value)
        elif operation.kind == "add":
            other = graph.like(kept.pop(), value)
            value = replace(value, name=graph.node("Add", [value.name, other.name]))
        elif operation.kind in _OF_LABELS:
            assert labels is not None
            value = _OF_LABELS[operation.kind](graph, operation, value, labels)
        else:
            value = _OF_VALUES[operation.kind](graph, operation, value)
    return graph.with_channels_last(value)


def _reshape(graph: Graph, operation: Operation, value: Value) -> Value:
    return graph.reshaped(value, operation.shape)


def _dense(graph: Graph, operation: Operation, value: Value) -> Value:
    kernel, bias = (operation.arrays[name] for name in ("kernel", "bias"))
    value = graph.with_channels_last(value)
    value = graph.chain(value, ("MatMul", [kernel]), ("Add", [bias]))
    return replace(value, shape=operation.shape)


def _normalize(graph: Graph, operation: Operation, value: Value) -> Value:
    """Adds a group norm: that of each group as one channel, then the scales of the channels."""
    value = graph.with_channels_first(value)
    height, width, channels = value.shape
    groups = operation.settings["groups"]
    shape = graph.constant([0, groups, -1], np.int64)
    grouped = graph.node("Reshape", [value.name, shape])
    unit = graph.constant(np.ones(groups)), graph.constant(np.zeros(groups))
    epsilon = {"epsilon": operation.settings["epsilon"]}
    normal = graph.node("InstanceNormalization", [grouped, *unit], epsilon)
    back = graph.constant([0, channels, height, width], np.int64)
    value = replace(value, name=graph.node("Reshape", [normal, back]))
    scale, bias = (
        graph.along_channels(value, operation.arrays[name]) for name in ("scale", "bias")
    )
    return graph.chain(value, ("Mul", [scale]), ("Add", [bias]))


def _rescale(graph: Graph, operation: Operation, value: Value) -> Value:
    factor, offset = (
        graph.along_channels(value, operation.settings[name]) for name in ("factor", "offset")
    )
    return graph.chain(value, ("Mul", [factor]), ("Add", [offset]))


def _take_first(graph: Graph, operation: Operation, value: Value) -> Value:
    sizes = {value.channel_axis: operation.shape[-1]}
    return replace(value, name=graph.cropped(value, sizes), shape=operation.shape)


def _append_class(graph: Graph, operation: Operation, value: Value, labels: str) -> Value:
    rows = graph.constant(np.eye(operation.settings["classes"]))
    one_hot = graph.node("Gather", [rows, labels])
    name = graph.node("Concat", [value.name, one_hot], {"axis": 1})
    return Value(name, operation.shape)


def _add_class_image(graph: Graph, operation: Operation, value: Value, labels: str) -> Value:
    value = graph.with_channels_last(value)
    images = graph.node("Gather", [graph.constant(operation.arrays["images"]), labels])
    return replace(value, name=graph.node("Add", [value.name, images]))


def _look_up(graph: Graph, operation: Operation, value: Value) -> Value:
    """Adds the nearest vectors, by distances that are computed as in `jaxae.models`."""
    vectors = operation.arrays["vectors"]
    dimension = vectors.shape[1]
    groups = int(np.prod(value.shape)) // dimension
    points = graph.reshaped(value, (groups, dimension))
    center = vectors.mean(axis=0)
    centered = vectors - center
    squares = np.square(centered).sum(axis=1)
    distances = graph.chain(
        points, ("Sub", [center]), ("MatMul", [-2 * centered.T]), ("Add", [squares])
    )
    nearest = graph.node("ArgMin", [distances.name], {"axis": 2, "keepdims": 0})
    found = graph.node("Gather", [graph.constant(vectors), nearest])
    return graph.reshaped(Value(found, (groups, dimension)), operation.shape)


def _round(graph: Graph, operation: Operation, value: Value) -> Value:
    shift, half, offset, width = (
        graph.along_channels(value, operation.arrays[name])
        for name in ("shift", "half", "offset", "width")
    )
    return graph.chain(
        value,
        ("Add", [shift]),
        ("Tanh", []),
        ("Mul", [half]),
        ("Sub", [offset]),
        ("Round", []),  # halves to even numbers, as NumPy rounds
        ("Div", [width]),
    )


def _keep_largest(graph: Graph, operation: Operation, value: Value) -> Value:
    flat = graph.reshaped(value, (int(np.prod(value.shape)),))
    count = graph.constant([operation.settings["count"]], np.int64)
    values, indices = graph.outputs("TopK", [flat.name, count], {"axis": 1})
    zeros = graph.node("ConstantOfShape", [graph.node("Shape", [flat.name])])
    name = graph.node("ScatterElements", [zeros, indices, values], {"axis": 1})
    return graph.reshaped(Value(name, flat.shape), operation.shape)


def _activate(graph: Graph, operation: Operation, value: Value) -> Value:
    name = operation.settings["name"]
    if name in _NODES:
        kind, attributes = _NODES[name]
        return replace(value, name=graph.node(kind, [value.name], attributes))
    return _COMPOSED[name](graph, value)


_NODES: dict[str, tuple[str, dict[str, float | str]]] = {
    "relu": ("Relu", {}),
    "elu": ("Elu", {"alpha": 1.0}),
    "gelu": ("Gelu", {"approximate": "tanh"}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "leaky_relu_0.3": ("LeakyRelu", {"alpha": 0.3}),
    "sigmoid": ("Sigmoid", {}),
    "softplus": ("Softplus", {}),
    "tanh": ("Tanh", {}),
}
"""The activations that are one node, with its attributes."""


def _relu6(graph: Graph, value: Value) -> Value:
    return graph.chain(value, ("Clip", [0, 6]))


def _clip(graph: Graph, value: Value) -> Value:
    return graph.chain(value, ("Clip", [0, 1]))


def _silu(graph: Graph, value: Value) -> Value:
    gate = graph.node("Sigmoid", [value.name])
    return replace(value, name=graph.node("Mul", [value.name, gate]))


def _limited_scale(graph: Graph, value: Value) -> Value:
    """Adds 2 x / sqrt(max(mean of x² over the channels, 4))."""
    square = graph.node("Mul", [value.name, value.name])
    axes = graph.constant([value.channel_axis], np.int64)
    mean = graph.node("ReduceMean", [square, axes], {"keepdims": 1})
    root = graph.node("Sqrt", [graph.node("Max", [mean, graph.constant(4)])])
    doubled = graph.node("Mul", [value.name, graph.constant(2)])
    return replace(value, name=graph.node("Div", [doubled, root]))


def _continuous_bernoulli_mean(graph: Graph, value: Value) -> Value:
    """Adds 1 / (1 - exp(-x)) - 1 / x, or its series 1/2 + x/12 - x³/720 + x⁵/30240 near 0."""
    x, one = value.name, graph.constant(1)
    near = graph.node("Less", [graph.node("Abs", [x]), graph.constant(_NEAR_ZERO)])
    safe = graph.node("Where", [near, one, x])
    decay = graph.node("Exp", [graph.node("Neg", [safe])])
    odds = graph.node("Reciprocal", [graph.node("Sub", [one, decay])])
    far = graph.node("Sub", [odds, graph.node("Reciprocal", [safe])])
    square = replace(value, name=graph.node("Mul", [x, x]))
    inner = graph.chain(square, ("Mul", [1 / 30240]), ("Add", [-1 / 720]))
    outer = replace(value, name=graph.node("Mul", [inner.name, square.name]))
    slope = graph.chain(outer, ("Add", [1 / 12]))
    series = graph.node("Add", [graph.node("Mul", [slope.name, x]), graph.constant(0.5)])
    return replace(value, name=graph.node("Where", [near, series, far]))


_COMPOSED: dict[str, Callable[[Graph, Value], Value]] = {
    "relu6": _relu6,
    "silu": _silu,
    "limited_scale": _limited_scale,
    "clip": _clip,
    "continuous_bernoulli_mean": _continuous_bernoulli_mean,
}
"""The activations that are several nodes."""

_OF_LABELS: dict[str, Callable[[Graph, Operation, Value, str], Value]] = {
    "append_class": _append_class,
    "add_class_image": _add_class_image,
}

_OF_VALUES: dict[str, Callable[[Graph, Operation, Value], Value]] = {
    "reshape": _reshape,
    "dense": _dense,
    "convolve": onnx_windows.convolve,
    "pool": onnx_windows.pool,
    "upsample": onnx_windows.upsample,
    "normalize": _normalize,
    "activate": _activate,
    "rescale": _rescale,
    "take_first": _take_first,
    "look_up": _look_up,
    "round": _round,
    "keep_largest": _keep_largest,
}
