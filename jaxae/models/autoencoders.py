"""Encoders, decoders, and the two ways to join them: a code, or a posterior over codes.

Images [B, H, W, C] are floats in the likelihood's range; dense networks take vectors [B, D] alike.
A decoder returns logits: an image's values before the output activation. As in Flax, `dtype` is the
dtype of the computation (None promotes inputs and parameters to a common one); parameters are
always float32.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from flax.typing import Dtype
from jax import Array
from jaxtyping import Float, Integer

from jaxae.errors import UserError
from jaxae.models.layers import Activation, ConvLayer, Initialization, dense, keras
from jaxae.models.stacks import convolve

Shape = tuple[int, ...]
"""(height, width, channels) of an image, or (dimension,) of a vector."""


def identity(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns its input: the activation of a layer that has none."""
    return x


@struct.dataclass
class Gaussian:
    """A Gaussian with independent dimensions, for each image of a batch."""

    mean: Float[Array, "*batch latent"]
    log_variance: Float[Array, "*batch latent"]


class DenseEncoder(nn.Module):
    """Dense layers from vectors or flattened images to codes."""

    features: tuple[int, ...]
    latent: int
    activation: Activation = nn.relu
    latent_activation: Activation = identity
    initialization: Initialization = keras
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "batch *shape"]) -> Float[Array, "batch {self.latent}"]:
        x = x.reshape(x.shape[0], -1)
        for features in self.features:
            x = self.activation(dense(x, features, self.initialization, self.dtype))
        return self.latent_activation(dense(x, self.latent, self.initialization, self.dtype))


class DenseDecoder(nn.Module):
    """Dense layers from codes to logits of a shape."""

    features: tuple[int, ...]
    shape: Shape
    activation: Activation = nn.relu
    initialization: Initialization = keras
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, z: Float[Array, "batch latent"]) -> Float[Array, "batch *logits"]:
        for features in self.features:
            z = self.activation(dense(z, features, self.initialization, self.dtype))
        z = dense(z, math.prod(self.shape), self.initialization, self.dtype)
        return z.reshape(z.shape[0], *self.shape)


class ConvEncoder(nn.Module):
    """Convolutions from images to codes: vectors of size `latent`, or feature maps if it is None.

    `latent_activation` is applied to the code. If it is None, feature maps get `activation`, like
    every other layer, and vectors get none.
    """

    layers: tuple[ConvLayer, ...]
    latent: int | None = None
    activation: Activation = nn.relu
    latent_activation: Activation | None = None
    initialization: Initialization = keras
    dtype: Dtype | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch *code"]:
        check_image_shape(x.shape[1:])
        activations = [self.activation] * len(self.layers)
        if self.latent is None and self.latent_activation is not None:
            activations[-1] = self.latent_activation
        layers = list(zip(self.layers, activations, strict=True))
        x = convolve(x, layers, self.initialization, self.dtype)
        if self.latent is None:
            return x
        x = dense(x.reshape(x.shape[0], -1), self.latent, self.initialization, self.dtype)
        return x if self.latent_activation is None else self.latent_activation(x)


class ConvDecoder(nn.Module):
    """Convolutions from codes to logits; the last layer has no activation.

    With `start`, codes are vectors, which a dense layer first maps to feature maps of this shape.
    Without it, codes are feature maps.
    """

    layers: tuple[ConvLayer, ...]
    start: Shape | None = None
    activation: Activation = nn.relu
    initialization: Initialization = keras
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, z: Float[Array, "batch *code"]) -> Float[Array, "batch height width logits"]:
        if self.start is not None:
            z = dense(z, math.prod(self.start), self.initialization, self.dtype)
            z = z.reshape(z.shape[0], *self.start)
        activations = [self.activation] * (len(self.layers) - 1) + [identity]
        return convolve(
            z, list(zip(self.layers, activations, strict=True)), self.initialization, self.dtype
        )


class Autoencoder(nn.Module):
    """An encoder and a decoder joined by a code, which may pass through a bottleneck.

    A call maps images to the logits of their reconstructions. It raises `UserError` if the
    reconstructions have another size than the images.
    """

    encoder: nn.Module
    decoder: nn.Module
    bottleneck: Callable[[Array], Array] = identity  # a function, or a Linen module

    def features(self, x: Float[Array, "batch *shape"]) -> Float[Array, "batch *features"]:
        """Returns the encoder's output for images, before the bottleneck."""
        return self.encoder(_check_images(x))

    def encode(self, x: Float[Array, "batch *shape"]) -> Float[Array, "batch *code"]:
        """Returns the codes of images."""
        return self.bottleneck(self.features(x))

    def decode(self, z: Float[Array, "batch *code"]) -> Float[Array, "batch *logits"]:
        """Returns the logits of codes."""
        return self.decoder(z)

    def __call__(self, x: Float[Array, "batch *shape"]) -> Float[Array, "batch *logits"]:
        return _check_same_size(self.decode(self.encode(x)), x)


def is_dense(model: Any) -> bool:
    """Returns whether a model is a plain autoencoder of dense layers alone.

    Subclasses do not count, because they might mix the examples of a batch.
    """
    return (
        type(model) is Autoencoder
        and type(model.encoder) is DenseEncoder
        and type(model.decoder) is DenseDecoder
        and model.bottleneck is identity
    )


@runtime_checkable
class HasPosterior(Protocol):
    """A model whose codes are drawn from a Gaussian posterior."""

    def posterior(
        self,
        x: Float[Array, "batch *shape"],
        labels: Integer[Array, " batch"] | None = None,
    ) -> Gaussian:
        """Returns q(z | x) of images."""
        ...


class VariationalAutoencoder(nn.Module):
    """A variational autoencoder (Kingma and Welling 2014), conditional if it has classes.

    The encoder returns 2 * latent numbers: the mean and the log variance of q(z | x). `encode` and
    a call use the mean, so that codes and reconstructions carry no noise; objectives sample from
    `posterior`.

    With classes, every method also takes labels, and both the posterior and the decoder depend on
    them (Sohn et al. 2015). The encoder's input is the image plus a learned image of its class; the
    decoder's input is the code followed by the one-hot label.
    """

    encoder: nn.Module
    decoder: nn.Module
    classes: int | None = None

    def setup(self) -> None:
        if self.classes is not None:
            self.label_images = _LabelImages(self.classes)

    def posterior(
        self,
        x: Float[Array, "batch *shape"],
        labels: Integer[Array, " batch"] | None = None,
    ) -> Gaussian:
        """Returns q(z | x) of images, or q(z | x, y) if the model has classes."""
        x = _check_images(x)
        if self.classes is not None:
            x = x + self.label_images(check_labels(labels), x.shape[1:])
        mean, log_variance = jnp.split(self.encoder(x), 2, axis=-1)
        return Gaussian(mean, log_variance)

    def encode(
        self,
        x: Float[Array, "batch *shape"],
        labels: Integer[Array, " batch"] | None = None,
    ) -> Float[Array, "batch latent"]:
        """Returns the posterior means of images."""
        return self.posterior(x, labels).mean

    def decode(
        self, z: Float[Array, "batch latent"], labels: Integer[Array, " batch"] | None = None
    ) -> Float[Array, "batch *logits"]:
        """Returns the logits of codes."""
        if self.classes is not None:
            one_hot = jax.nn.one_hot(check_labels(labels), self.classes, dtype=z.dtype)
            z = jnp.concatenate([z, one_hot], axis=-1)
        return self.decoder(z)

    def __call__(
        self,
        x: Float[Array, "batch *shape"],
        labels: Integer[Array, " batch"] | None = None,
    ) -> Float[Array, "batch *logits"]:
        return _check_same_size(self.decode(self.encode(x, labels), labels), x)


class _LabelImages(nn.Module):
    """Learned images of a shape, one for each class, initially zero."""

    classes: int

    @nn.compact
    def __call__(
        self, labels: Integer[Array, " batch"], shape: tuple[int, ...]
    ) -> Float[Array, "batch *shape"]:
        images = self.param("images", nn.initializers.zeros, (self.classes, *shape), jnp.float32)
        return images[labels]


def check_labels(labels: Integer[Array, " batch"] | None) -> Integer[Array, " batch"]:
    """Returns the labels; raises `UserError` if they are None."""
    if labels is None:
        raise UserError("a conditional network was given no labels: give one for each image")
    return labels


def _check_images(x: Array) -> Float[Array, "batch *shape"]:
    """Returns the images; raises `UserError` unless they are float [B, H, W, C] or [B, D]."""
    if x.ndim not in (2, 4) or 0 in x.shape or not jnp.issubdtype(x.dtype, jnp.floating):
        raise UserError(
            f"{x.dtype} of shape {x.shape} was given to a network: give floats [B, H, W, C], or "
            "vectors [B, D], with at least one of each; jaxae.train.pixels converts uint8, and "
            "gray images have C = 1"
        )
    return x


def check_shape(shape: Shape) -> None:
    """Raises `UserError` unless the shape is of images or of vectors, each size 1 or more."""
    if len(shape) not in (1, 3) or not all(size >= 1 for size in shape):
        raise UserError(
            f"a shape of {shape} was given: give (height, width, channels) of images, or "
            "(dimension,) of vectors, each 1 or more"
        )


def check_image_shape(shape: Shape) -> None:
    """Raises `UserError` unless the shape is (height, width, channels), each 1 or more."""
    check_shape(shape)
    if len(shape) != 3:
        raise UserError(
            f"vectors of {shape[0]} numbers were given to a network of convolutions, which reads "
            "images: choose a dense network (--network dense)"
        )


def _check_same_size(
    logits: Float[Array, "batch *logits"], images: Float[Array, "batch *shape"]
) -> Float[Array, "batch *logits"]:
    """Returns the logits; raises `UserError` unless they have the size of the images.

    The last axis may be a multiple of the images' last axis, because a likelihood may read several
    logits per channel, such as a mean and a variance.
    """
    if logits.shape[:-1] != images.shape[:-1] or logits.shape[-1] % images.shape[-1]:
        read, written = ("x".join(map(str, array.shape[1:])) for array in (images, logits))
        raise UserError(
            f"this network turns images of {read} into {written}: choose a dataset whose image "
            "size it reproduces (every network reproduces 28x28), or use jaxae train, whose "
            "networks take any size"
        )
    return logits


def count_parameters(variables: Mapping[str, Any]) -> int:
    """Returns the number of trainable scalars in the variables that `model.init` returned."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
