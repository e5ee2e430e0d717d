"""Warm-up of the KL term: its weight grows from 0 while training begins."""

from collections.abc import Callable
from dataclasses import replace

import jax.numpy as jnp
from jax import Array
from jaxtyping import Key

from jaxae.errors import UserError
from jaxae.objectives.posterior import check_count
from jaxae.train import Batch, Terms, Variables


def kl_warmup(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    objective: Callable[..., Terms],
    steps: int,
) -> Terms:
    """Applies a variational objective whose KL term has a weight that grows from 0 to its own.

    Bowman et al. 2016, section 3.1; the growth is linear, as in Sønderby et al. 2016, section 2.3.
    The `objective` takes a `kl_weight` from 0 to 1, which is min(count / steps, 1) for the steps
    counted in the variables' "kl_warmup", and the metric "kl_weight". The collections return the
    count plus one, so that a resumed run continues the growth. Raises `UserError` without the
    count, and if `steps` is less than 1.
    """
    check_count("steps", steps)
    if "kl_warmup" not in variables:
        raise UserError(
            'variables without "kl_warmup" were given: add those of kl_warmup_schedule()'
        )
    count = variables["kl_warmup"]["steps"]
    weight = jnp.minimum(count / steps, 1)
    terms = objective(variables, key, batch, kl_weight=weight)
    return replace(
        terms,
        metrics={**terms.metrics, "kl_weight": weight},
        collections={**terms.collections, "kl_warmup": {"steps": count + 1}},
    )


def kl_warmup_schedule() -> Variables:
    """Returns the collection in which `kl_warmup` counts steps, with a count of 0."""
    return {"kl_warmup": {"steps": jnp.zeros((), jnp.int32)}}
