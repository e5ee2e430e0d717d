"""Figures of codes: how much of them is used, and how well classes are predicted from them."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxae import metrics
from jaxae.data import Split
from jaxae.evaluate.images import labeled
from jaxae.network import Trained
from jaxae.train import apply_in_parts

_NEIGHBORS = 5


def code_use_figures(trained: Trained, test_codes: np.ndarray) -> dict[str, float]:
    """Returns a posterior's active units, or the perplexity and use of a codebook, if any."""
    if trained.network.has_posterior:
        if len(test_codes) < 2:
            return {}
        return {"active_units": metrics.active_units(test_codes.reshape(len(test_codes), -1))}
    quantizer = trained.network.quantizer
    if quantizer is None:
        return {}

    def read_indices(model: Any, part: jax.Array) -> jax.Array:
        return model.bottleneck.indices(part)

    read = partial(trained.network.model.apply, trained.variables, method=read_indices)
    indices = apply_in_parts(lambda part: np.asarray(read(jnp.asarray(part))), test_codes)
    return {
        "codebook_perplexity": metrics.perplexity(indices, quantizer.size),
        "codes_used": len(np.unique(indices)),
        "codebook_size": quantizer.size,
    }


def probe(train: Split, test: Split) -> dict[str, float]:
    """Returns how well known classes are predicted from codes or images, [N, ...] and [M, ...]."""
    known, known_test = labeled(train), labeled(test)
    if known is None or known_test is None or len(np.unique(known[1])) < 2:
        return {}  # the few examples whose codes fit in memory are of one class
    arrays = (known[0][:], known[1], known_test[0][:], known_test[1])
    return {
        "linear_probe_accuracy": metrics.linear_probe_accuracy(*arrays),
        # Evaluations on disk have this spelling.
        "neighbour_accuracy": metrics.neighbor_accuracy(*arrays, min(_NEIGHBORS, len(known[1]))),
    }
