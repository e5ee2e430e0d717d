"""Encoders, decoders, and the two ways to join them: a code, or a posterior over codes.

Images are float [B, H, W, C] in whatever range the likelihood reads; a decoder returns logits of
the same shape, which is what stands before the output activation. As in Flax, `dtype` is that of
the computation (None: what inputs and parameters promote to); parameters are float32 always.
"""

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from flax.typing import Dtype
from jax import Array

from jaxae.errors import UserError
from jaxae.models.layers import Activation, ConvLayer, Initialization, dense, keras
from jaxae.models.stacks import convolve

Shape = tuple[int, int, int]


def identity(x: Array) -> Array:
    """The input, as the activation of a layer that has none."""
    return x


@struct.dataclass
class Gaussian:
    """A Gaussian with independent dimensions; mean and log_variance are float [B, latent]."""

    mean: Array
    log_variance: Array


class DenseEncoder(nn.Module):
    """Affine layers from flattened images [B, H, W, C] to codes [B, latent]."""

    features: tuple[int, ...]
    latent: int
    activation: Activation = nn.relu
    latent_activation: Activation = identity
    initialization: Initialization = keras
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = x.reshape(x.shape[0], -1)
        for features in self.features:
            x = self.activation(dense(x, features, self.initialization, self.dtype))
        return self.latent_activation(dense(x, self.latent, self.initialization, self.dtype))


class DenseDecoder(nn.Module):
    """Affine layers from codes [B, latent] to logits [B, *shape]."""

    features: tuple[int, ...]
    shape: Shape
    activation: Activation = nn.relu
    initialization: Initialization = keras
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, z: Array) -> Array:
        for features in self.features:
            z = self.activation(dense(z, features, self.initialization, self.dtype))
        z = dense(z, math.prod(self.shape), self.initialization, self.dtype)
        return z.reshape(z.shape[0], *self.shape)


class ConvEncoder(nn.Module):
    """Convolutions from images [B, H, W, C] to codes [B, latent], or to feature maps.

    The code's activation is `latent_activation`; by default feature maps have that of all layers,
    and a vector has none.
    """

    layers: tuple[ConvLayer, ...]
    latent: int | None = None
    activation: Activation = nn.relu
    latent_activation: Activation | None = None
    initialization: Initialization = keras
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
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
    """Convolutions from codes to logits [B, H, W, C]; the last layer is a convolution alone.

    With `start` the codes are [B, latent] and an affine layer first maps them to feature maps of
    that shape; without it they are feature maps already.
    """

    layers: tuple[ConvLayer, ...]
    start: Shape | None = None
    activation: Activation = nn.relu
    initialization: Initialization = keras
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, z: Array) -> Array:
        if self.start is not None:
            z = dense(z, math.prod(self.start), self.initialization, self.dtype)
            z = z.reshape(z.shape[0], *self.start)
        activations = [self.activation] * (len(self.layers) - 1) + [identity]
        return convolve(
            z, list(zip(self.layers, activations, strict=True)), self.initialization, self.dtype
        )


class Autoencoder(nn.Module):
    """An encoder and a decoder that meet in a code, which a bottleneck may narrow.

    Calling it on images [B, H, W, C] gives the logits of their reconstructions; raises UserError
    where encoder and decoder together do not return the size they were given.
    """

    encoder: nn.Module
    decoder: nn.Module
    bottleneck: Callable[[Array], Array] = identity  # a function, or a Linen module

    def features(self, x: Array) -> Array:
        """What the encoder makes of images [B, H, W, C], before the bottleneck."""
        return self.encoder(_check_images(x))

    def encode(self, x: Array) -> Array:
        """The codes of images [B, H, W, C]."""
        return self.bottleneck(self.features(x))

    def decode(self, z: Array) -> Array:
        """The logits of codes."""
        return self.decoder(z)

    def __call__(self, x: Array) -> Array:
        return _check_same_size(self.decode(self.encode(x)), x)


@runtime_checkable
class HasPosterior(Protocol):
    """A model whose codes are drawn from a Gaussian posterior."""

    def posterior(self, x: Array, labels: Array | None = None) -> Gaussian:
        """q(z | x) for images [B, H, W, C]."""
        ...


class VariationalAutoencoder(nn.Module):
    """An encoder that returns [B, 2 * latent], mean and log variance of q(z | x), and a decoder.

    `encode` and the call itself use the posterior's mean, so that pictures of codes and of
    reconstructions carry no noise; an objective samples from `posterior` (Kingma and Welling 2014).
    With classes each method also takes the labels, int [B], and posterior and decoder depend on
    them (Sohn et al. 2015): a label's own learned image is added to what the encoder reads, and the
    label as one-hot to the code that the decoder reads.
    """

    encoder: nn.Module
    decoder: nn.Module
    classes: int | None = None

    def setup(self) -> None:
        if self.classes is not None:
            self.label_images = _LabelImages(self.classes)

    def posterior(self, x: Array, labels: Array | None = None) -> Gaussian:
        """q(z | x) for images [B, H, W, C], or q(z | x, y)."""
        x = _check_images(x)
        if self.classes is not None:
            x = x + self.label_images(check_labels(labels), x.shape[1:])
        mean, log_variance = jnp.split(self.encoder(x), 2, axis=-1)
        return Gaussian(mean, log_variance)

    def encode(self, x: Array, labels: Array | None = None) -> Array:
        """The posterior's mean, [B, latent], for images [B, H, W, C]."""
        return self.posterior(x, labels).mean

    def decode(self, z: Array, labels: Array | None = None) -> Array:
        """The logits of codes [B, latent]."""
        if self.classes is not None:
            one_hot = jax.nn.one_hot(check_labels(labels), self.classes, dtype=z.dtype)
            z = jnp.concatenate([z, one_hot], axis=-1)
        return self.decoder(z)

    def __call__(self, x: Array, labels: Array | None = None) -> Array:
        return _check_same_size(self.decode(self.encode(x, labels), labels), x)


class _LabelImages(nn.Module):
    """A learned image for each class, at first black: from labels [B] to [B, *shape]."""

    classes: int

    @nn.compact
    def __call__(self, labels: Array, shape: tuple[int, ...]) -> Array:
        images = self.param("images", nn.initializers.zeros, (self.classes, *shape), jnp.float32)
        return images[labels]


def check_labels(labels: Array | None) -> Array:
    """The labels; UserError where a conditional network was given none."""
    if labels is None:
        raise UserError("a conditional network was given no labels: give one for each image")
    return labels


def _check_images(x: Array) -> Array:
    """The images, if they are float [B, H, W, C]; else UserError."""
    if x.ndim != 4 or 0 in x.shape or not jnp.issubdtype(x.dtype, jnp.floating):
        raise UserError(
            f"{x.dtype} of shape {x.shape} was given to a network: it reads floats [B, H, W, C], "
            "with at least one of each; jaxae.train.pixels makes them of uint8, and grey images "
            "have C = 1"
        )
    return x


def check_shape(shape: Shape) -> None:
    """UserError unless images have a height, a width and channels."""
    if len(shape) != 3 or not all(size >= 1 for size in shape):
        raise UserError(
            f"an image shape of {shape} was given: it is (height, width, channels), each 1 or more"
        )


def _check_same_size(logits: Array, images: Array) -> Array:
    """The logits, if they have the images' height and width, and some logits a pixel's channel.

    How many the likelihood says: two, say, for a mean and a variance. Else UserError.
    """
    height, width, channels = images.shape[1:]
    if logits.shape[:3] != images.shape[:3] or logits.shape[3] % channels:
        raise UserError(
            f"this network turns images of {height}x{width}x{channels} into "
            f"{'x'.join(map(str, logits.shape[1:]))}: choose a dataset whose image size it "
            "reproduces (28x28 always is), or a dense network, which takes any size"
        )
    return logits


def count_parameters(variables) -> int:
    """The number of trainable scalars in what `model.init` returned."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
