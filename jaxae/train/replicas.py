"""Replicas on a CPU: one per core, each in a thread of its own.

With `jax.vmap`, which suits accelerators, the activations of all replicas would not fit in a CPU's
caches, and its cores would wait for each other after every operation.
"""

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.stages import Compiled, Wrapped

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
    programs_of = jax.jit(lambda *_: _Programs())
    cores = devices.cores()
    pool = ThreadPoolExecutor(cores)  # starts threads when they are needed, and keeps them

    def loop_replicas(
        carry: Any, totals: Any, context: tuple[Any, Any], start: int, stop: int
    ) -> tuple[Any, Any]:
        nonlocal pool
        shared, own = context
        stacked, zero = ((carry, totals), own), np.int32(0)
        # Compiled in this thread, because others lack the caller's settings, such as x64.
        pair, first_own = pick(stacked, zero)
        programs = programs_of(stacked, shared).by_device
        device = jax.tree.leaves(pair)[0].sharding
        if device not in programs:
            lowered = loop.lower(*pair, (shared, first_own), zero, zero)
            programs[device] = lowered.compile()
        train = programs[device]

        def run(before: Any, low: np.int32, high: np.int32) -> Any:
            pair, own = before.result() if isinstance(before, Future) else before
            return jax.block_until_ready(train(*pair, (shared, own), low, high)), own

        count = jax.tree.leaves(totals)[0].shape[0]
        # Three replicas on two cores take their steps in two halves, so that no core is idle: the
        # first halves of 0 and 1, then those of 2 and the second half of 0, then the others.
        busy = min(cores, count)
        bounds = np.linspace(start, stop, busy // math.gcd(count, busy) + 1).astype(np.int32)
        # Each is a replica's (carry, totals) and own context, then a future of them.
        runs: Any = (pick(stacked, np.int32(replica)) for replica in range(count))
        try:
            for low, high in pairwise(bounds):
                runs = [pool.submit(run, before, low, high) for before in runs]
            done = copy((carry, totals))
            for replica in range(count):
                pair, _ = runs.pop(0).result()  # popped to free its memory
                done = write(done, pair, np.int32(replica))
        except BaseException:  # after an error or Ctrl-C, waits only for what runs already
            pool.shutdown(cancel_futures=True)
            pool = ThreadPoolExecutor(cores)
            raise
        return done

    return loop_replicas


@jax.tree_util.register_static
@dataclass(eq=False)  # each is equal only to itself
class _Programs:
    """Compiled programs by device, for the same shapes, dtypes and settings.

    A compiled function whose result they are returns the same object until it is traced again.
    """

    by_device: dict[Any, Compiled] = field(default_factory=dict)


def _pick(tree: Any, replica: Any) -> Any:
    """Returns one replica of a pytree."""
    return jax.tree.map(lambda leaf: leaf[replica], tree)


def _write(tree: Any, one: Any, replica: Any) -> Any:
    """Returns a pytree of replicas in which one is replaced."""
    return jax.tree.map(lambda leaf, own: leaf.at[replica].set(own), tree, one)
