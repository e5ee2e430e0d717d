"""Trained networks as programs: lists of operations from images to codes, and from codes to images.

They compute `Trained.encode` and `Trained.decode` for one example, and need no JAX.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxae.data import Scaling
from jaxae.errors import UserError
from jaxae.likelihoods import Likelihood, name_of
from jaxae.models import (
    Operation,
    Shape,
    decoder_operations,
    encoder_operations,
)
from jaxae.network import Network, Trained


@dataclass(frozen=True)
class Program:
    """A trained network as operations on one image or code, without a batch axis.

    Images are those of `Trained`, but pixels of uint8 images are divided by 255.
    """

    shape: Shape  # of an image, or of a vector
    code_shape: Shape
    encode: list[Operation]
    decode: list[Operation]


def program_of(trained: Trained, shape: Shape) -> Program:
    """Returns the program of a network for images or vectors of a shape.

    Raises `UserError` if a part of the network, or its likelihood, is not from jaxae.
    """
    network, variables = trained.network, trained.variables
    model = network.model
    before = [*_scaling(trained.scaling, shape), *_entry(network.likelihood, shape)]
    encoder = encoder_operations(model, variables, shape)
    code_shape = code_shape_of(network, variables, shape)
    decoder = decoder_operations(model, variables, code_shape)
    after = [*_head(network.likelihood, decoder[-1].shape), *_unscaling(trained.scaling, shape)]
    return Program(
        shape,
        code_shape,
        before + encoder,
        decoder + after,
    )


def code_shape_of(network: Network, variables: Any, shape: Shape) -> Shape:
    """Returns the shape of one code."""
    labels = None if network.classes is None else jnp.zeros(1, jnp.int32)
    codes = jax.eval_shape(network.encode, variables, jnp.zeros((1, *shape)), labels)
    return codes.shape[1:]


def _entry(likelihood: Likelihood, shape: Shape) -> list[Operation]:
    """Returns the scaling from pixels in [0, 1] to the numbers that the network reads."""
    if _kind_of(likelihood) != "gaussian_tanh":
        return []
    return [Operation("rescale", shape, {"factor": [2.0], "offset": [-1.0]})]


_HEADS = {
    "bernoulli": "sigmoid",
    "continuous_bernoulli": "continuous_bernoulli_mean",
    "gaussian": "sigmoid",
    "gaussian_learned": "sigmoid",
    "discretized_logistic": "sigmoid",
    "gaussian_sigmoid": "sigmoid",
    "gaussian_tanh": "tanh",
    "gaussian_relu": "clip",
    "gaussian_identity": None,
    "gaussian_identity_learned": None,
}
"""The activation that turns the means of each likelihood into an image."""


def _head(likelihood: Likelihood, logits: Shape) -> list[Operation]:
    """Returns the operations that turn logits of a shape into an image."""
    kind = _kind_of(likelihood)
    *rest, channels = logits
    shape = (*rest, channels // likelihood.logits_per_channel)
    operations = [] if shape == logits else [Operation("take_first", shape)]
    if _HEADS[kind] is not None:
        operations.append(Operation("activate", shape, {"name": _HEADS[kind]}))
    if kind == "gaussian_tanh":
        operations.append(Operation("rescale", shape, {"factor": [0.5], "offset": [0.5]}))
    return operations


def _kind_of(likelihood: Likelihood) -> str:
    """Returns the likelihood's name without its standard deviation."""
    name = name_of(likelihood)
    if name is None:
        raise UserError(
            "the likelihood is one of your own: only those of jaxae.likelihoods can be written as "
            "a list of operations"
        )
    return name.partition(" ")[0]


def _scaling(scaling: Scaling | None, shape: Shape) -> list[Operation]:
    """Returns the scaling from the data's numbers to those that the network was trained on."""
    if scaling is None:
        return []
    pairs = zip(scaling.offset, scaling.scale, strict=True)
    offset = [-offset / scale for offset, scale in pairs]
    factor = [1 / scale for scale in scaling.scale]
    return [Operation("rescale", shape, {"factor": factor, "offset": offset})]


def _unscaling(scaling: Scaling | None, shape: Shape) -> list[Operation]:
    """Returns the scaling back."""
    if scaling is None:
        return []
    settings = {"factor": list(scaling.scale), "offset": list(scaling.offset)}
    return [Operation("rescale", shape, settings)]
