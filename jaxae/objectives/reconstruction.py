"""The reconstruction objective, for networks whose code is a function of the image."""

from dataclasses import replace
from functools import partial

import jax.numpy as jnp
from jax import Array
from jaxtyping import Key

from jaxae import metrics
from jaxae.models import is_dense
from jaxae.network import Network
from jaxae.train import Batch, ByExample, Objective, Terms, Variables, pixels


def reconstruction(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    per_pixel: bool = False,
) -> Terms:
    """The likelihood's loss of each image; `per_pixel` divides it by the number of pixels."""
    del key
    targets = network.scale(batch.images)
    logits = network.apply(variables, network.scale(batch.network_inputs), batch.labels)
    loss = network.likelihood.loss(logits, targets)
    return Terms(loss / targets[0].size if per_pixel else loss, {"reconstruction": loss})


def make_reconstruction(network: Network, *, per_pixel: bool = False) -> Objective:
    """Returns the reconstruction objective, wrapped in `ByExample` if the network is dense."""
    objective = partial(reconstruction, network=network, per_pixel=per_pixel)
    return ByExample(objective) if is_dense(network.model) else objective


def with_image_errors(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    objective: Objective,
    network: Network,
) -> Terms:
    """Adds the "mse" and "psnr" of each reconstruction, on [0, 1], to an objective's metrics.

    Vectors [B, D] get the "mse" alone, because they have no largest value. The reconstruction
    starts from the batch's own inputs, before the objective corrupts them.
    """
    terms = objective(variables, key, batch)
    images = network.reconstruct(variables, batch.network_inputs, batch.labels)
    targets = pixels(batch.images)
    if targets.ndim == 2:
        errors = {"mse": jnp.mean(jnp.square(images - targets), axis=1)}
    else:
        errors = {"mse": metrics.mse(images, targets), "psnr": metrics.psnr(images, targets)}
    return replace(terms, metrics={**terms.metrics, **errors})
