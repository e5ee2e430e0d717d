"""Networks as lists of plain operations, for programs that compute them without JAX.

An operation maps one value to the next: a vector [D] or an image [H, W, C], without a batch axis,
in float32. The kinds of operations, with their settings and arrays:

- reshape: to the operation's shape, in row-major order
- dense: `kernel` [D, F] and `bias` [F], of the last axis
- convolve: `kernel` [h, w, C, F] and `bias` [F]. The value is first spread out, with `dilation` - 1
  zeros between neighbors. Tap t of output o then reads pixel `stride` * o + t - `low`, or 0 beyond
  the edges, along the height and the width
- pool: the largest number in a `window`, whose taps are placed as those of a convolution
- upsample: each pixel becomes `factor` x `factor` pixels; the last rows and columns are cut off
- normalize: group norm with `groups`, `epsilon`, `scale` [C] and `bias` [C]
- activate: the function `name` of this file's `ACTIVATIONS`, or of the outputs of a likelihood:
  `clip` to [0, 1], or `continuous_bernoulli_mean`, 1 / (1 - exp(-x)) - 1 / x
- rescale: times `factor`, plus `offset`
- keep: remembers the value, on top of those that are remembered already
- add: adds the value remembered last, and forgets it
- take_first: keeps the leading channels
- append_class: a one-hot label of `classes` follows the vector
- add_class_image: `images` [classes, ...] at the label is added
- look_up: each group of numbers becomes the nearest of `vectors` [size, dimension]; ties go to the
  first
- round: rounds each number to one of a few levels, by
  round(tanh(z + `shift`) * `half` - `offset`) / `width`, four arrays of one number per channel
- keep_largest: all but the `count` largest numbers become 0; ties go to the first
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import flax.linen as nn
import numpy as np

from jaxae.convolutions import window
from jaxae.errors import UserError
from jaxae.models.autoencoders import (
    Autoencoder,
    ConvDecoder,
    ConvEncoder,
    DenseDecoder,
    DenseEncoder,
    Shape,
    VariationalAutoencoder,
    identity,
)
from jaxae.models.bottlenecks import FiniteScalarQuantizer, TopK
from jaxae.models.codebooks import VectorQuantizer
from jaxae.models.descriptions import name_of
from jaxae.models.layers import Activation, ConvLayer, PoolLayer
from jaxae.models.residual import EPSILON, ResidualDecoder, ResidualEncoder, groups_of
from jaxae.models.stacks import dilated_padding, windows_of

Kind = Literal[
    "reshape",
    "dense",
    "convolve",
    "pool",
    "upsample",
    "normalize",
    "activate",
    "rescale",
    "keep",
    "add",
    "take_first",
    "append_class",
    "add_class_image",
    "look_up",
    "round",
    "keep_largest",
]

Parameters = Mapping[str, Any]
"""Nested parameters of a module, as Linen names them."""


@dataclass(frozen=True)
class Operation:
    """An operation of a kind that this file's docstring lists."""

    kind: Kind
    shape: Shape  # of the result
    settings: Mapping[str, Any] = field(default_factory=dict)  # numbers, texts and lists of numbers
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)  # float32


def encoder_operations(
    model: nn.Module, variables: Mapping[str, Any], shape: Shape
) -> list[Operation]:
    """Returns the operations of a model's `encode`, for scaled images or vectors of a shape.

    Raises `UserError` if the model is not made of the parts of `jaxae.models`.
    """
    parameters = variables["params"]
    if isinstance(model, VariationalAutoencoder):
        first = []
        if model.classes is not None:
            images = _float32(parameters["label_images"]["images"])
            first = [Operation("add_class_image", shape, arrays={"images": images})]
        operations = [*first, *_of_part(model.encoder, parameters["encoder"], shape)]
        *rest, numbers = operations[-1].shape
        return [*operations, Operation("take_first", (*rest, numbers // 2))]
    if isinstance(model, Autoencoder):
        operations = _of_part(model.encoder, parameters["encoder"], shape)
        return operations + _of_bottleneck(model, variables, operations[-1].shape)
    raise _unknown(model)


def _of_bottleneck(model: nn.Module, variables: Mapping[str, Any], shape: Shape) -> list[Operation]:
    """Returns the operations that make a code of an encoder's output of a shape; often none.

    Raises `UserError` if the bottleneck is not of `jaxae.models`.
    """
    bottleneck = getattr(model, "bottleneck", identity)
    if bottleneck is identity:
        return []
    if isinstance(bottleneck, TopK):
        return [Operation("keep_largest", shape, {"count": bottleneck.k})]
    if isinstance(bottleneck, VectorQuantizer):
        vectors = variables["codebook"]["bottleneck"]["vectors"]
        return [Operation("look_up", shape, arrays={"vectors": _float32(vectors)})]
    if isinstance(bottleneck, FiniteScalarQuantizer):
        repeats = shape[-1] // bottleneck.group_size
        arrays = {
            name: np.tile(values, repeats).astype(np.float32)
            for name, values in bottleneck.constants().items()
        }
        return [Operation("round", shape, arrays=arrays)]
    raise _unknown(bottleneck)


def decoder_operations(
    model: nn.Module, variables: Mapping[str, Any], shape: Shape
) -> list[Operation]:
    """Returns the operations of a model's `decode`, for codes of a shape, up to the logits.

    Raises `UserError` if the model is not made of the parts of `jaxae.models`.
    """
    if not isinstance(model, Autoencoder | VariationalAutoencoder):
        raise _unknown(model)
    classes = model.classes if isinstance(model, VariationalAutoencoder) else None
    first = []
    if classes is not None:
        shape = (*shape[:-1], shape[-1] + classes)
        first = [Operation("append_class", shape, {"classes": classes})]
    return [*first, *_of_part(model.decoder, variables["params"]["decoder"], shape)]


def _of_part(part: nn.Module, parameters: Parameters, shape: Shape) -> list[Operation]:
    """Returns the operations of an encoder or a decoder for inputs of a shape."""
    if isinstance(part, DenseEncoder | DenseDecoder):
        return _of_dense(part, parameters, shape)
    start = getattr(part, "start", None)
    if isinstance(part, ConvEncoder | ConvDecoder):
        operations = _of_strided(part, parameters, start or shape)
    elif isinstance(part, ResidualEncoder | ResidualDecoder):
        operations = _of_residual(part, parameters, start or shape)
    else:
        raise _unknown(part)
    if start is not None:
        operations = [_dense(parameters["Dense_0"]), Operation("reshape", start), *operations]
    latent = getattr(part, "latent", None)
    if latent is not None:
        flat = (int(np.prod(operations[-1].shape if operations else shape)),)
        operations += [Operation("reshape", flat), _dense(parameters["Dense_0"])]
    code_activation = getattr(part, "latent_activation", None)
    if code_activation is None or (latent is None and isinstance(part, ConvEncoder)):
        return operations  # the last layer of a stack has its activation already
    return operations + _activation(code_activation, operations[-1].shape)


def _of_dense(
    part: DenseEncoder | DenseDecoder, parameters: Parameters, shape: Shape
) -> list[Operation]:
    """Returns dense layers with their activations."""
    operations = []
    if len(shape) > 1:
        operations.append(Operation("reshape", (int(np.prod(shape)),)))
    count = len(part.features)
    for number in range(count + 1):
        operations.append(_dense(parameters[f"Dense_{number}"]))
        activation = part.activation if number < count else identity
        if number == count and isinstance(part, DenseEncoder):
            activation = part.latent_activation
        operations += _activation(activation, operations[-1].shape)
    if isinstance(part, DenseDecoder) and len(part.shape) > 1:
        operations.append(Operation("reshape", part.shape))
    return operations


def _of_strided(
    part: ConvEncoder | ConvDecoder, parameters: Parameters, shape: Shape
) -> list[Operation]:
    """Returns a stack of convolutions, each with its activation, pool and upsampling."""
    activations = [part.activation] * len(part.layers)
    if isinstance(part, ConvDecoder):
        activations[-1] = identity
    elif part.latent is None and part.latent_activation is not None:
        activations[-1] = part.latent_activation
    remaining = _Remaining(parameters)
    operations = []
    for layer, activation in zip(part.layers, activations, strict=True):
        operations.append(_convolution(layer, remaining.next_of(layer), shape))
        operations += _activation(activation, operations[-1].shape)
        if layer.pool is not None:
            operations.append(_pool(layer.pool, operations[-1].shape))
        operations += _upsampling(layer, operations[-1].shape)
        shape = operations[-1].shape
    return operations


def _of_residual(
    part: ResidualEncoder | ResidualDecoder, parameters: Parameters, shape: Shape
) -> list[Operation]:
    """Returns residual blocks, in the order of `residual.convolve`."""
    *layers, last = part.layers
    if isinstance(part, ResidualEncoder) and part.latent is not None:
        layers, last = [*layers, last], None
    remaining = _Remaining(parameters)
    operations: list[Operation] = []

    def convolve(layer: ConvLayer) -> None:
        before = operations[-1].shape if operations else shape
        operations.append(_convolution(layer, remaining.next_of(layer), before))

    def normalize() -> None:
        operations.append(_normalization(remaining.next("GroupNorm"), operations[-1].shape))
        operations.extend(_activation(part.activation, operations[-1].shape))

    waiting: list[Operation] = []  # an upsampling that the next convolution comes after
    for layer in layers:
        operations += waiting
        convolve(layer)
        operations.append(Operation("keep", operations[-1].shape))
        for _ in range(2):
            normalize()
            convolve(ConvLayer(layer.features))
        operations.append(Operation("add", operations[-1].shape))
        waiting = _upsampling(layer, operations[-1].shape)
        height, width, _ = operations[-1].shape
        if layer.size not in (None, (height * layer.upsample, width * layer.upsample)):
            operations += waiting  # a norm of what is left differs from one before it is cropped
            waiting = []
    normalize()
    operations += waiting
    if last is not None:
        convolve(last)
    return operations


class _Remaining:
    """Hands out the parameters of a stack's layers in the order of use."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.numbers: dict[str, int] = {}

    def next(self, kind: str) -> Parameters:
        """Returns the parameters of the next layer of a kind, such as Conv_0."""
        number = self.numbers.get(kind, 0)
        self.numbers[kind] = number + 1
        return self.parameters[f"{kind}_{number}"]

    def next_of(self, layer: ConvLayer) -> Parameters:
        """Returns the parameters of the next convolution."""
        return self.next("ConvTranspose" if layer.transpose else "Conv")


def _dense(parameters: Parameters) -> Operation:
    """Returns a dense layer of a vector."""
    kernel, bias = _float32(parameters["kernel"]), _float32(parameters["bias"])
    return Operation("dense", bias.shape, arrays={"kernel": kernel, "bias": bias})


def _convolution(layer: ConvLayer, parameters: Parameters, shape: Shape) -> Operation:
    """Returns a convolution of images of a shape."""
    kernel, bias = _float32(parameters["kernel"]), _float32(parameters["bias"])
    windows = windows_of(layer, shape[:2])
    if layer.transpose and layer.stride > 1:
        stride, dilation = 1, layer.stride
        low = [dilated_padding(window)[0] for window in windows]
        sides = [window.inputs for window in windows]
    else:
        stride, dilation = layer.stride, 1
        low, sides = [window.low for window in windows], [window.outputs for window in windows]
    settings = {"stride": stride, "dilation": dilation, "low": low}
    return Operation(
        "convolve", (*sides, layer.features), settings, {"kernel": kernel, "bias": bias}
    )


def _pool(pool: PoolLayer, shape: Shape) -> Operation:
    """Returns a max-pool of images of a shape."""
    windows = [window(side, pool.window, pool.stride, pool.padding) for side in shape[:2]]
    settings = {"window": pool.window, "stride": pool.stride, "low": [w.low for w in windows]}
    return Operation("pool", (*(w.outputs for w in windows), shape[-1]), settings)


def _upsampling(layer: ConvLayer, shape: Shape) -> list[Operation]:
    """Returns the upsampling that follows a layer whose output has a shape, if there is one."""
    if layer.upsample == 1:
        return []
    factor = layer.upsample
    height, width = layer.size or (shape[0] * factor, shape[1] * factor)
    return [Operation("upsample", (height, width, shape[-1]), {"factor": factor})]


def _normalization(parameters: Parameters, shape: Shape) -> Operation:
    """Returns a group norm of images of a shape."""
    arrays = {"scale": _float32(parameters["scale"]), "bias": _float32(parameters["bias"])}
    settings = {"groups": groups_of(shape[-1]), "epsilon": EPSILON}
    return Operation("normalize", shape, settings, arrays)


def _activation(activation: Activation, shape: Shape) -> list[Operation]:
    """Returns an activation, unless it is the identity."""
    if activation is identity:
        return []
    name = name_of(activation)
    if name not in ACTIVATIONS:
        raise _unknown(activation)
    return [Operation("activate", shape, {"name": name})]


ACTIVATIONS = (
    "relu",
    "relu6",
    "elu",
    "gelu",
    "silu",
    "leaky_relu",
    "leaky_relu_0.3",
    "sigmoid",
    "softplus",
    "tanh",
    "limited_scale",
)
"""The names of activations, as in a network's description."""


def _float32(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)


def _unknown(part: Any) -> UserError:
    name = type(part).__name__ if isinstance(part, nn.Module) else repr(part)
    return UserError(
        f"the network has a part of your own, {name}: only networks made of jaxae.models can be "
        "written as a list of operations"
    )
