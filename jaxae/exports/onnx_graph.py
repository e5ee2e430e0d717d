"""ONNX graphs that are built node by node, with images in either of two layouts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jaxae.exports.extra import need
from jaxae.models import Shape


@dataclass(frozen=True)
class Value:
    """A tensor of a graph.

    shape: without the batch axis, [H, W, C] for images in either layout.
    channels_first: whether an image is [N, C, H, W], as ONNX's convolutions read it.
    """

    name: str
    shape: Shape
    channels_first: bool = False

    @property
    def channel_axis(self) -> int:
        """The axis of the channels in the tensor, or of a vector's numbers."""
        return 1 if self.channels_first else len(self.shape)


class Graph:
    """The nodes and constants of a graph that is being built."""

    def __init__(self) -> None:
        self._helper = need("onnx.helper", "the format onnx")
        self._tensors = need("onnx.numpy_helper", "the format onnx")
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, array: Any, dtype: Any = np.float32) -> str:
        """Adds an array, and returns its name; equal arrays share a name."""
        values = np.array(array, dtype, order="C")
        key = (values.tobytes(), values.shape, values.dtype.str)
        name = next((name for name, (known, _) in self.constants.items() if known == key), None)
        if name is None:
            name = f"constant_{len(self.constants)}"
            self.constants[name] = (key, self._tensors.from_array(values, name))
        return name

    def node(
        self, kind: str, inputs: Sequence[str], attributes: Mapping[str, Any] | None = None
    ) -> str:
        """Adds a node with one output, and returns the output's name."""
        return self.outputs(kind, inputs, attributes, count=1)[0]

    def outputs(
        self,
        kind: str,
        inputs: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
        *,
        count: int = 2,
    ) -> list[str]:
        """Adds a node with several outputs, and returns their names."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        names = [name, *(f"{name}_{number}" for number in range(1, count))]
        node = self._helper.make_node(kind, list(inputs), names, name, **(attributes or {}))
        self.nodes.append(node)
        return names

    def chain(self, value: Value, *steps: tuple[str, Sequence[Any]]) -> Value:
        """Applies nodes one after the other, each with the constants that follow its kind."""
        name = value.name
        for kind, arrays in steps:
            name = self.node(kind, [name, *map(self.constant, arrays)])
        return replace(value, name=name)

    def with_channels_first(self, value: Value) -> Value:
        """Returns an image as [N, C, H, W]."""
        return self._in_layout(value, channels_first=True)

    def with_channels_last(self, value: Value) -> Value:
        """Returns an image as [N, H, W, C], and a vector as it is."""
        return self._in_layout(value, channels_first=False)

    def like(self, value: Value, other: Value) -> Value:
        """Returns a value in the layout of another."""
        return self._in_layout(value, channels_first=other.channels_first)

    def _in_layout(self, value: Value, *, channels_first: bool) -> Value:
        if value.channels_first == channels_first:
            return value
        order = [0, 3, 1, 2] if channels_first else [0, 2, 3, 1]
        name = self.node("Transpose", [value.name], {"perm": order})
        return Value(name, value.shape, channels_first)

    def reshaped(self, value: Value, shape: Shape) -> Value:
        """Returns a value with another shape, in row-major order, its channels last."""
        value = self.with_channels_last(value)
        if value.shape == shape:
            return value
        sizes = self.constant([0, *shape], np.int64)  # 0: the batch's own size
        return Value(self.node("Reshape", [value.name, sizes]), shape)

    def along_channels(self, value: Value, numbers: Any) -> np.ndarray:
        """Returns one number per channel, or one for all, as an array that fits the layout."""
        array = np.asarray(numbers, np.float32).reshape(-1)
        return array[:, None, None] if value.channels_first else array

    def cropped(self, value: Value, sizes: Mapping[int, int]) -> str:
        """Returns a tensor that keeps the leading entries of some axes."""
        axes = list(sizes)
        numbers = ([0] * len(axes), [sizes[axis] for axis in axes], axes)
        return self.node(
            "Slice", [value.name, *(self.constant(each, np.int64) for each in numbers)]
        )
