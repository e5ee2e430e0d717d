"""A network applied to a batch: its inputs, its calls, and images through its code and back."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from jaxae.likelihoods import Likelihood
from jaxae.models import check_labels
from jaxae.train import Batch, Variables, pixels


def call(model: nn.Module, variables: Variables, *inputs: Array, method: str = "__call__") -> Any:
    """A method of a Linen module on arrays; floats of less bits that it returns become float32."""
    return jax.tree.map(widen, model.apply(variables, *inputs, method=method))


def widen(leaf: Array) -> Array:
    """A float of less bits as float32; anything else as it is."""
    floating = jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)) if floating else leaf


def condition(model: nn.Module, labels: Array | None) -> tuple[Array, ...]:
    """What a model's methods take after images or codes: labels if it has classes, or nothing."""
    if getattr(model, "classes", None) is None:
        return ()
    return (check_labels(labels),)


def inputs_of(batch: Batch) -> Array:
    """What the network reads, before scaling: the inputs if the batch has any, else the images."""
    return batch.images if batch.inputs is None else batch.inputs


def network_input(batch: Batch, likelihood: Likelihood) -> Array:
    """What the network reads, in the likelihood's range."""
    return likelihood.scale(pixels(inputs_of(batch)))


def targets_of(batch: Batch, likelihood: Likelihood) -> Array:
    """What the network's logits are compared with: the images in the likelihood's range."""
    return likelihood.scale(pixels(batch.images))


@partial(jax.jit, static_argnames=("model", "likelihood"))
def reconstruct(
    variables: Variables,
    images: Array,
    labels: Array | None = None,
    *,
    model: nn.Module,
    likelihood: Likelihood,
) -> Array:
    """Reconstructions in [0, 1] of images [B, H, W, C], through codes or their posterior means."""
    x = likelihood.scale(pixels(images))
    return likelihood.image(call(model, variables, x, *condition(model, labels)))


@partial(jax.jit, static_argnames=("model", "likelihood"))
def encode(
    variables: Variables,
    images: Array,
    labels: Array | None = None,
    *,
    model: nn.Module,
    likelihood: Likelihood,
) -> Array:
    """The codes of images [B, H, W, C], or the means of their posteriors."""
    x = likelihood.scale(pixels(images))
    return call(model, variables, x, *condition(model, labels), method="encode")


@partial(jax.jit, static_argnames=("model", "likelihood"))
def decode(
    variables: Variables,
    z: Array,
    labels: Array | None = None,
    *,
    model: nn.Module,
    likelihood: Likelihood,
) -> Array:
    """The images [B, H, W, C] in [0, 1] that codes stand for."""
    return likelihood.image(call(model, variables, z, *condition(model, labels), method="decode"))
