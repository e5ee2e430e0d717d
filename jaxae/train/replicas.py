"""Replicas on a CPU: one per core, each in a thread of its own.

With `jax.vmap`, which suits accelerators, the activations of all replicas would not fit in a CPU's
caches, and its cores would wait for each other after every operation.
"""

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.stages import Wrapped

from jaxae import devices


def one_per_core(loop: Wrapped) -> Callable:
    """Returns a loop over steps for several replicas, from the compiled loop for one.

    Both take (carry, totals, context, start, stop) and return (carry, totals). Of several replicas,
    carry, totals and the second part of the context have a leading axis, and lie on one CPU device.
    Each replica runs the program of a separate run, so its results have the same bits.
    """
    pick = jax.jit(_pick)
    write = jax.jit(_write, donate_argnums=0)

    def loop_replicas(
        carry: Any, totals: Any, context: tuple[Any, Any], start: int, stop: int
    ) -> tuple[Any, Any]:
        shared, own = context
        stacked, zero = (carry, totals, own), np.int32(0)
        # Compiled in this thread, because others lack the caller's settings, such as x64. JAX
        # compiles only once for the same shapes.
        pick_one = pick.lower(stacked, zero).compile()
        *first, first_own = pick(stacked, zero)
        train = loop.lower(*first, (shared, first_own), zero, zero).compile()

        def run(replica: np.int32, before: Future | None, low: np.int32, high: np.int32) -> Any:
            *pair, own = pick_one(stacked, replica)
            if before is not None:
                pair = before.result()
            return jax.block_until_ready(train(*pair, (shared, own), low, high))

        count = jax.tree.leaves(totals)[0].shape[0]
        cores = min(devices.cores(), count)
        # Three replicas on two cores take their steps in two halves, so that no core is idle: the
        # first halves of 0 and 1, then those of 2 and the second half of 0, then the others.
        parts = cores // math.gcd(count, cores)
        bounds = np.linspace(start, stop, parts + 1).astype(np.int32)
        pool = ThreadPoolExecutor(cores)
        try:
            runs: list[Any] = [None] * count  # then futures
            for low, high in pairwise(bounds):
                runs = [
                    pool.submit(run, np.int32(replica), before, low, high)
                    for replica, before in enumerate(runs)
                ]
            done = jax.tree.map(jnp.copy, (carry, totals))
            for replica in range(count):
                done = write(done, runs.pop(0).result(), replica)  # popped to free its memory
        finally:  # after an error or Ctrl-C, waits only for what runs already
            pool.shutdown(cancel_futures=True)
        return done

    return loop_replicas


def _pick(tree: Any, replica: Any) -> Any:
    """Returns one replica of a pytree."""
    return jax.tree.map(lambda leaf: leaf[replica], tree)


def _write(tree: Any, one: Any, replica: Any) -> Any:
    """Returns a pytree of replicas in which one is replaced."""
    return jax.tree.map(lambda leaf, own: leaf.at[replica].set(own), tree, one)
