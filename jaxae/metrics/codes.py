"""How much of a code is in use: the units of a posterior, the vectors of a codebook."""

import numpy as np

from jaxae.errors import UserError


def active_units(means: np.ndarray, threshold: float = 0.01) -> int:
    """How many dimensions of a code vary with the image.

    Those whose posterior mean, float [N, latent] of N images, has a variance over the images above
    the threshold (Burda, Grosse and Salakhutdinov 2016, section 5.2). Raises UserError for another
    shape, fewer than two images, and numbers that are not finite.
    """
    means = np.asarray(means, np.float64)
    if means.ndim != 2 or len(means) < 2 or not np.isfinite(means).all():
        raise UserError(
            f"posterior means of shape {means.shape} were given: active units are counted in "
            "finite numbers [N, latent] of two images or more"
        )
    return int((means.var(axis=0) > threshold).sum())


def perplexity(indices: np.ndarray, size: int) -> float:
    """exp(entropy) of how often each of `size` codes is used, from 1 to size.

    As many codes, used evenly, would have the same entropy. Indices are integers from 0 to
    size - 1, of any shape. Raises UserError for others, and for none at all.
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
