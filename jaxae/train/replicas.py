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
    copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))
    write = jax.jit(_write, donate_argnums=0)

    def loop_replicas(
        carry: Any, totals: Any, context: tuple[Any, Any], start: int, stop: int
    ) -> tuple[Any, Any]:
        shared, own = context
        stacked, zero = ((carry, totals), own), np.int32(0)
        # Compiled in this thread, because others lack the caller's settings, such as x64. JAX
        # compiles only once for the same shapes.
        pair, first_own = pick(stacked, zero)
        train = loop.lower(*pair, (shared, first_own), zero, zero).compile()

        def run(before: Any, low: np.int32, high: np.int32) -> Any:
            pair, own = before.result() if isinstance(before, Future) else before
            return jax.block_until_ready(train(*pair, (shared, own), low, high)), own

        count = jax.tree.leaves(totals)[0].shape[0]
        cores = min(devices.cores(), count)
        # Three replicas on two cores take their steps in two halves, so that no core is idle: the
        # first halves of 0 and 1, then those of 2 and the second half of 0, then the others.
        parts = cores // math.gcd(count, cores)
        bounds = np.linspace(start, stop, parts + 1).astype(np.int32)
        pool = ThreadPoolExecutor(cores)
        # For each replica (carry, totals) and its own context, at first; then futures of them.
        runs: Any = (pick(stacked, np.int32(replica)) for replica in range(count))
        try:
            for low, high in pairwise(bounds):
                runs = [pool.submit(run, before, low, high) for before in runs]
            done = copy((carry, totals))
            for replica in range(count):
                pair, _ = runs.pop(0).result()  # popped to free its memory
                done = write(done, pair, np.int32(replica))
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
