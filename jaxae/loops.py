"""A loop over steps that adds up what each step measures."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Totals = dict[str, Array]


def zero_totals(step: Callable, carry: Any, context: Any) -> Totals:
    """Totals of no steps yet, with the names and shapes that `step` adds to them."""
    _, shapes = jax.eval_shape(step, 0, carry, context)
    return jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)


def make_loop(step: Callable, *, compiled: bool) -> Callable:
    """From (index, carry, context) -> (carry, sums) to a loop that adds up the sums.

    The loop takes (carry, totals, context, start, stop) and returns (carry, totals). Compiled, it
    is one program for any start and stop; else each step is dispatched, for what XLA is slow to
    run in loops.
    """

    def accumulate(index: Array | int, carry: Any, totals: Totals, context: Any):
        carry, more = step(index, carry, context)
        return carry, jax.tree.map(jnp.add, totals, more)

    @jax.jit
    def compiled_loop(carry, totals, context, start, stop):
        def body(index: Array, pair: tuple[Any, Totals]) -> tuple[Any, Totals]:
            return accumulate(index, *pair, context)

        return jax.lax.fori_loop(start, stop, body, (carry, totals))

    jitted_step = jax.jit(accumulate)

    def dispatched_loop(carry, totals, context, start, stop):
        for index in range(start, stop):
            carry, totals = jitted_step(index, carry, totals, context)
        return carry, totals

    return compiled_loop if compiled else dispatched_loop
