"""Networks as JSON and back, from a fixed list of parts, so that reading one runs no code.

A run's config.json describes a network that is made of these parts, and loading builds it again.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxae.errors import UserError
from jaxae.files import shorten
from jaxae.models import autoencoders, bottlenecks, codebooks, layers, published, residual

_CLASSES = {
    cls.__name__: cls
    for cls in (
        autoencoders.Autoencoder,
        autoencoders.VariationalAutoencoder,
        autoencoders.DenseEncoder,
        autoencoders.DenseDecoder,
        autoencoders.ConvEncoder,
        autoencoders.ConvDecoder,
        residual.ResidualEncoder,
        residual.ResidualDecoder,
        bottlenecks.FiniteScalarQuantizer,
        bottlenecks.TopK,
        codebooks.VectorQuantizer,
    )
} | {"Conv": layers.ConvLayer, "Pool": layers.PoolLayer}  # the names that config.json keeps

_NAMES = {cls: name for name, cls in _CLASSES.items()}

_VALUES = {
    "identity": autoencoders.identity,
    "keras": layers.keras,
    "pytorch": layers.pytorch,
    "lecun": layers.lecun,
    "logistic": layers.logistic,
    "limited_scale": layers.limited_scale,
    "leaky_relu_0.3": published.leaky_relu,
    "relu": nn.relu,
    "relu6": nn.relu6,
    "elu": nn.elu,
    "gelu": nn.gelu,
    "silu": nn.silu,
    "leaky_relu": nn.leaky_relu,
    "sigmoid": nn.sigmoid,
    "softplus": nn.softplus,
    "tanh": nn.tanh,
    "bfloat16": jnp.bfloat16,
    "float16": jnp.float16,
    "float32": jnp.float32,
}

_LINEN = ("parent", "name")  # the fields that Linen adds to a module


def describe(part: Any) -> Any:
    """Returns a network, or a part of one, as JSON; raises `UserError` for an unlisted part."""
    if part is None or isinstance(part, bool | int | float | str):
        return part
    if isinstance(part, tuple):
        return [describe(item) for item in part]
    if type(part) in _NAMES:
        fields = [field.name for field in dataclasses.fields(part) if field.init]
        values = {name: describe(getattr(part, name)) for name in fields if name not in _LINEN}
        return {"class": _NAMES[type(part)], **values}
    name = name_of(part)
    if name is not None:
        return {"value": name}
    raise UserError(f"{part!r} is not one of the parts that describe a network: {_known()}")


def name_of(part: Any) -> str | None:
    """Returns the name of a function or dtype in descriptions; None if it has none."""
    return next((name for name, value in _VALUES.items() if part is value), None)


def build(description: Any) -> Any:
    """Builds a described network; raises `UserError` for JSON that `describe` does not write."""
    if isinstance(description, list):
        return tuple(build(item) for item in description)
    if not isinstance(description, dict):
        return description
    try:
        if description.keys() == {"value"}:
            return _VALUES[description["value"]]
        fields = {name: build(value) for name, value in description.items() if name != "class"}
        return _CLASSES[description["class"]](**fields)
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{shorten(description)} describes no network that this version has ({error}): "
            f"{_known()}"
        ) from None


def _known() -> str:
    return f"the parts are {', '.join([*_CLASSES, *_VALUES])}"
