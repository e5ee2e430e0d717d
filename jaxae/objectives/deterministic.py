"""Objectives of networks whose code is a function of the image."""

from dataclasses import replace

import flax.linen as nn
from jax import Array

from jaxae import metrics
from jaxae.likelihoods import Likelihood
from jaxae.objectives.networks import (
    call,
    condition,
    inputs_of,
    network_input,
    reconstruct,
    targets_of,
)
from jaxae.train import Batch, Objective, Terms, Variables, pixels


def reconstruction(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    model: nn.Module,
    likelihood: Likelihood,
    per_pixel: bool = False,
) -> Terms:
    """The likelihood's loss of each image; per_pixel divides it by the number of pixels."""
    del key
    targets = targets_of(batch, likelihood)
    x = network_input(batch, likelihood)
    logits = call(model, variables, x, *condition(model, batch.labels))
    loss = likelihood.loss(logits, targets)
    return Terms(loss / targets[0].size if per_pixel else loss, {"reconstruction": loss})


def with_image_errors(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    objective: Objective,
    model: nn.Module,
    likelihood: Likelihood,
) -> Terms:
    """The objective, and "mse" and "psnr" of each reconstruction on [0, 1], for evaluation.

    The reconstruction is of the batch's own inputs, before the objective corrupts them.
    """
    terms = objective(variables, key, batch)
    images = reconstruct(
        variables, inputs_of(batch), batch.labels, model=model, likelihood=likelihood
    )
    targets = pixels(batch.images)
    errors = {"mse": metrics.mse(images, targets), "psnr": metrics.psnr(images, targets)}
    return replace(terms, metrics={**terms.metrics, **errors})
