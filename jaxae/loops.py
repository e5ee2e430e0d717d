"""A loop over steps that adds up what each step measures."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from jaxae import devices

Totals = dict[str, Array]


def zero_totals(step: Callable, carry: Any, context: Any) -> Totals:
    """Totals of no steps yet, with the names and shapes that `step` adds to them."""
    _, shapes = jax.eval_shape(step, 0, carry, context)
    return jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)


def make_loop(step: Callable, mesh: Mesh | None = None) -> Callable:
    """From (index, carry, context) -> (carry, sums) to a compiled loop that adds up the sums.

    The loop takes (carry, totals, context, start, stop) and returns (carry, totals), on each device
    of the mesh if there is one; it is one program for any start and stop.
    """

    def loop(carry: Any, totals: Totals, context: Any, start: int, stop: int) -> tuple[Any, Totals]:
        def body(index: Array, pair: tuple[Any, Totals]) -> tuple[Any, Totals]:
            carry, more = step(index, pair[0], context)
            return carry, jax.tree.map(jnp.add, pair[1], more)

        return jax.lax.fori_loop(start, stop, body, (carry, totals))

    return jax.jit(loop) if mesh is None else jax.jit(loop, out_shardings=devices.on_each(mesh))
