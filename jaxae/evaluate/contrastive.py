"""A small network, trained by jaxae without labels, whose features judge images.

It learns which two of many slightly changed images come from one image (SimCLR: Chen et al. 2020).
Among the others is a blurred, noisy or blended copy of each image, so that features show faults: on
Fashion-MNIST and on patches of photographs, the FID of gray, constant, blurred, noisy or blended
images, of PCA's samples, and of half of the classes is 11 to 2,000 times that of training images.
Without the copies, a slight blur of photographs has 0.4 times that of training images.
"""

from dataclasses import replace
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.special
from jax import Array
from jaxtyping import Bool, Float

from jaxae.evaluate.extractors import (
    FeatureNetwork,
    NetworkSettings,
    Task,
    examples_of,
    make_encoder,
)
from jaxae.evaluate.images import Images, spread
from jaxae.network import apply
from jaxae.train import Batch, Terms, Variables, pixels

NOTE = (
    "FID, KID, precision and recall rest on the features of a small network that jaxae itself "
    "trained on this dataset without labels (contrastive, as SimCLR): they compare with each "
    "other, not with figures from the Inception network."
)

_SEEN = 38_400  # training images, counted once in each epoch: 600 steps of 64
_TESTED = 1024  # test images, at most, that the accuracy is measured on
_TEMPERATURE = 0.2
_PROJECTION = 32  # width of the projection that is compared
_SHIFT = 8  # images are moved by up to an eighth of their side
_CONTRAST, _BRIGHTNESS = 0.2, 0.1  # the largest relative and absolute change of the pixels
_BLUR = scipy.special.softmax(-0.5 * np.arange(-3, 4) ** 2)  # a Gaussian of one pixel
_LEAST_BLUR = 0.3  # share of the blurred image
_MOST_NOISE = 0.3  # standard deviation, of pixels in [0, 1]
_MOST_BLEND = 0.5  # share of another image
_OUT = -1e9  # a similarity that takes no part in a softmax


class Projection(nn.Module):
    """Two dense layers from features to the vectors that are compared."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch dimension"]) -> Float[Array, "batch features"]:
        hidden = nn.relu(nn.Dense(x.shape[-1])(x))
        return nn.Dense(self.features)(hidden)


def make_task(images: Images, settings: NetworkSettings = NetworkSettings(batch_size=64)) -> Task:
    """Returns the task of recognizing a dataset's images after small changes.

    Whatever the number of images, about equally many are seen in training.
    """
    dataset = images.dataset
    train, test = (
        replace(examples_of(spread(split, count), images.range), labels=None)
        for split, count in ((dataset.train, _SEEN), (dataset.test, _TESTED))
    )
    settings = replace(settings, epochs=max(1, round(_SEEN / len(train.images))))
    encoder = make_encoder(settings, dataset.test.images.shape[1:])
    model = FeatureNetwork(encoder, Projection(_PROJECTION))
    objective = partial(normalized_cross_entropy, model=model)
    return Task("contrastive", dataset, model, objective, settings, train, test)


def normalized_cross_entropy(
    variables: Variables, key: Array, batch: Batch, *, model: FeatureNetwork
) -> Terms:
    """The loss NT-Xent of each image and its distorted copy, Chen et al. 2020, eq. 1, in nats.

    Each of these 2 B images has two views; a view has to be told from those of all other images.
    The metric "accuracy" is the share of views for which the other view is the most similar one.
    """
    distort_key, first_key, second_key = jax.random.split(key, 3)
    images = pixels(batch.images)
    images = jnp.concatenate([images, distort(distort_key, images)])
    views = jnp.concatenate([change(first_key, images), change(second_key, images)])
    # Padding is no image to be told from.
    losses, found = contrast(apply(model, variables, views), jnp.tile(batch.weights > 0, 4))
    return Terms(_mean_of_views(losses), {"accuracy": _mean_of_views(found)})


def contrast(
    outputs: Float[Array, "views features"], real: Bool[Array, " views"]
) -> tuple[Float[Array, " views"], Float[Array, " views"]]:
    """Returns NT-Xent of each view, in nats, and 1 if its other view is the most similar, else 0.

    The other view of an image is half of all views further on. Similarities are cosines over a
    temperature of 0.2; views that are not real are told from no other.
    """
    norms = jnp.linalg.norm(outputs, axis=1, keepdims=True)
    directions = outputs / jnp.maximum(norms, 1e-6)
    count = len(outputs)
    similarities = directions @ directions.T / _TEMPERATURE
    similarities = jnp.where(real[None] & ~jnp.eye(count, dtype=bool), similarities, _OUT)
    others = jnp.roll(jnp.arange(count), count // 2)
    losses = optax.softmax_cross_entropy_with_integer_labels(similarities, others)
    return losses, (jnp.argmax(similarities, axis=1) == others).astype(jnp.float32)


def _mean_of_views(values: Float[Array, " views"]) -> Float[Array, " batch"]:
    """Returns the mean over the four views of each image and its copy: [4 B] -> [B]."""
    return values.reshape(4, -1).mean(axis=0)


def distort(
    key: Array, images: Float[Array, "batch height width channels"]
) -> Float[Array, "batch height width channels"]:
    """Blurs each image, adds noise to it, or blends it with another, in a random degree."""
    kind_key, degree_key, noise_key = jax.random.split(key, 3)
    each = (len(images), 1, 1, 1)
    kind = jax.random.randint(kind_key, each, 0, 3)
    degree = jax.random.uniform(degree_key, each)
    sharpness = (1 - _LEAST_BLUR) * (1 - degree)
    blurred = sharpness * images + (1 - sharpness) * _blur(images)
    noise = _MOST_NOISE * (0.1 + 0.9 * degree) * jax.random.normal(noise_key, images.shape)
    share = _MOST_BLEND * (0.4 + 0.6 * degree)
    blended = (1 - share) * images + share * jnp.roll(images, 1, axis=0)
    return jnp.select([kind == 0, kind == 1], [blurred, images + noise], blended)


def _blur(
    images: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height width channels"]:
    """Blurs images with a Gaussian window of a standard deviation of one pixel."""
    for axis in (1, 2):
        reach = len(_BLUR) // 2
        pads = [(reach, reach) if dimension == axis else (0, 0) for dimension in range(4)]
        padded, size = jnp.pad(images, pads, mode="edge"), images.shape[axis]
        shifted = (
            jax.lax.slice_in_dim(padded, start, start + size, axis=axis)
            for start in range(len(_BLUR))
        )
        images = sum(
            (float(weight) * part for weight, part in zip(_BLUR, shifted, strict=True)),
            jnp.zeros_like(images),
        )
    return images


def change(
    key: Array, images: Float[Array, "batch height width channels"]
) -> Float[Array, "batch height width channels"]:
    """Moves images and changes their contrast and brightness, each image in its own way."""
    shift_key, contrast_key, brightness_key = jax.random.split(key, 3)
    each = (len(images), 1, 1, 1)
    contrast = jax.random.uniform(contrast_key, each, minval=-_CONTRAST, maxval=_CONTRAST)
    brightness = jax.random.uniform(brightness_key, each, minval=-_BRIGHTNESS, maxval=_BRIGHTNESS)
    return _shift(shift_key, images) * (1 + contrast) + brightness


def _shift(
    key: Array, images: Float[Array, "batch height width channels"]
) -> Float[Array, "batch height width channels"]:
    """Moves each image by whole pixels; pixels that come in repeat those at the edge."""
    count, height, width, channels = images.shape
    most = (max(1, height // _SHIFT), max(1, width // _SHIFT))
    padded = jnp.pad(images, ((0, 0), *((pixels, pixels) for pixels in most), (0, 0)), mode="edge")
    limits = 2 * jnp.array(most) + 1
    starts = jax.random.randint(key, (count, 2), 0, limits[None])

    def cut(image: Array, start: Array) -> Array:
        return jax.lax.dynamic_slice(image, (start[0], start[1], 0), (height, width, channels))

    return jax.vmap(cut)(padded, starts)
