"""Measures of how much of a code is used: a posterior's active units, a codebook's perplexity."""

import numpy as np
from jaxtyping import Float, Integer

from jaxae.errors import UserError


def active_units(means: Float[np.ndarray, "N latent"], threshold: float = 0.01) -> int:
    """The number of dimensions of a code that vary with the image.

    A unit is active if the variance of its posterior mean over N images exceeds the threshold
    (Burda, Grosse and Salakhutdinov 2016, section 5.2). Raises `UserError` for another shape, fewer
    than two images, and numbers that are not finite.
    """
    means = np.asarray(means, np.float64)
    if means.ndim != 2 or len(means) < 2 or not np.isfinite(means).all():
        raise UserError(
            f"posterior means of shape {means.shape} were given: give finite numbers [N, latent] "
            "of two images or more"
        )
    return int((means.var(axis=0) > threshold).sum())


def perplexity(indices: Integer[np.ndarray, "..."], size: int) -> float:
    """exp(entropy) of the frequencies of `size` codes, from 1 to size.

    This is the number of codes that would have the same entropy if used evenly. Indices are
    integers from 0 to size - 1. Raises `UserError` for other indices, and for none at all.
    """
    indices = np.asarray(indices)
    whole = np.issubdtype(indices.dtype, np.integer)
    if not whole or indices.size == 0 or indices.min() < 0 or indices.max() >= size:
        raise UserError(
            f"indices of type {indices.dtype} and shape {indices.shape} were given for {size} "
            f"codes: give one or more integers from 0 to {size - 1}"
        )
    counts = np.bincount(indices.reshape(-1).astype(np.int64))
    shares = counts[counts > 0] / indices.size
    return float(np.clip(np.exp(-np.sum(shares * np.log(shares))), 1, size))
