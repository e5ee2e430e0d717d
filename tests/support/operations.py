"""Computes the operations of `jaxae.models` in NumPy, as their docstring defines them."""

from collections.abc import Sequence

import numpy as np
from scipy import special

from jaxae.models import Operation

ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x * special.expit(x),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "leaky_relu_0.3": lambda x: np.where(x > 0, x, 0.3 * x),
    "sigmoid": special.expit,
    "softplus": lambda x: np.logaddexp(x, 0),
    "tanh": np.tanh,
    "limited_scale": lambda x: 2 * x / np.sqrt(np.maximum(np.mean(x**2, -1, keepdims=True), 4)),
}


def compute(operations: Sequence[Operation], value: np.ndarray, label: int = 0) -> np.ndarray:
    """Applies operations to one value, in float64."""
    value, kept = value.astype(np.float64), []
    for operation in operations:
        if operation.kind == "keep":
            kept.append(value)
        elif operation.kind == "add":
            value = value + kept.pop()
        else:
            value = _apply(operation, value, label)
        assert value.shape == operation.shape, operation.kind
    assert not kept
    return value


def _apply(operation: Operation, x: np.ndarray, label: int) -> np.ndarray:
    """Applies any other operation."""
    arrays = {name: array.astype(np.float64) for name, array in operation.arrays.items()}
    settings = operation.settings
    match operation.kind:
        case "reshape":
            return x.reshape(operation.shape)
        case "dense":
            return x @ arrays["kernel"] + arrays["bias"]
        case "convolve":
            spread = _spread(x, settings["dilation"])
            taps = _taps(spread, operation, arrays["kernel"].shape[:2], 0)
            return np.einsum("yxhwc,hwcf->yxf", taps, arrays["kernel"]) + arrays["bias"]
        case "pool":
            return _taps(x, operation, (settings["window"],) * 2, -np.inf).max((2, 3))
        case "upsample":
            factor, (height, width, _) = settings["factor"], operation.shape
            return x.repeat(factor, 0).repeat(factor, 1)[:height, :width]
        case "normalize":
            grouped = x.reshape(*x.shape[:2], settings["groups"], -1)
            mean, variance = (f(grouped, (0, 1, 3), keepdims=True) for f in (np.mean, np.var))
            normal = (grouped - mean) / np.sqrt(variance + settings["epsilon"])
            return normal.reshape(x.shape) * arrays["scale"] + arrays["bias"]
        case "activate":
            return ACTIVATIONS[settings["name"]](x)
        case "take_first":
            return x[..., : operation.shape[-1]]
        case "append_class":
            return np.concatenate([x, np.eye(settings["classes"])[label]])
        case "add_class_image":
            return x + arrays["images"][label]
        case "look_up":
            groups = x.reshape(-1, arrays["vectors"].shape[1])
            distances = np.square(groups[:, None] - arrays["vectors"]).sum(2)
            return arrays["vectors"][distances.argmin(1)].reshape(x.shape)
        case "round":
            bounded = np.tanh(x + arrays["shift"]) * arrays["half"] - arrays["offset"]
            return np.round(bounded) / arrays["width"]
        case "keep_largest":
            order = np.argsort(-x.reshape(-1), kind="stable")[: settings["count"]]
            kept = np.zeros(x.size, bool)
            kept[order] = True
            return np.where(kept.reshape(x.shape), x, 0)
    raise AssertionError(operation.kind)


def _spread(x: np.ndarray, dilation: int) -> np.ndarray:
    """Puts zeros between the pixels."""
    height, width, channels = x.shape
    spread = np.zeros((dilation * (height - 1) + 1, dilation * (width - 1) + 1, channels))
    spread[::dilation, ::dilation] = x
    return spread


def _taps(x: np.ndarray, operation: Operation, window: tuple[int, ...], fill: float) -> np.ndarray:
    """Returns the pixels that each output reads, [height, width, *window, channels]."""
    height, width = operation.shape[:2]
    taps = np.full((height, width, *window, x.shape[-1]), fill, np.float64)
    stride, low = operation.settings["stride"], operation.settings["low"]
    for y, x_, row, column in np.ndindex(height, width, *window):
        place = stride * y + row - low[0], stride * x_ + column - low[1]
        if all(0 <= p < size for p, size in zip(place, x.shape[:2], strict=True)):
            taps[y, x_, row, column] = x[place]
    return taps
