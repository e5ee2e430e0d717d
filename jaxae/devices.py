"""Which devices share the work: a mesh with a data axis, and several processes that act as one.

A batch lies in parts on the devices of the mesh, and everything else on each of them. The program
is the same on one device: XLA divides it by where its inputs lie, and adds up gradients.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxae.errors import UserError

HEARTBEAT_SECONDS = 20  # JAX takes a process that is silent for this long for dead
LEAVE_SECONDS = 10  # time to print an error and to shut down together with the others


def check_platforms() -> None:
    """UserError where JAX_PLATFORMS asks for devices that are not there."""
    asked = jax.config.values["jax_platforms"]
    if not asked:
        return
    try:
        jax.devices()
    except (RuntimeError, AssertionError):  # which of them depends on the platform
        jax.config.update("jax_platforms", None)
        platform = jax.devices()[0].platform
        raise UserError(
            f"JAX_PLATFORMS={asked}: JAX finds no such devices here, or lacks the plugin for them; "
            f"unset JAX_PLATFORMS to use {platform}, or install the plugin, as by "
            "pip install 'jaxae[cuda]'"
        ) from None


def data_mesh(count: int | None = None) -> Mesh:
    """A mesh of one axis, "data", over the first so many devices, by default all of all processes.

    Raises UserError where there are fewer, or where a process would have no part.
    """
    devices = jax.devices()
    if count is None:
        count = len(devices)
    if not 1 <= count <= len(devices):
        raise UserError(
            f"{count} devices were asked for: there are {len(devices)} "
            f"({devices[0].platform}); give from 1 to that, or leave the number away for all"
        )
    if jax.process_count() > 1 and count < len(devices):
        raise UserError(
            f"{count} of {len(devices)} devices were asked for in {jax.process_count()} processes: "
            "these use all devices; leave the number away"
        )
    return jax.make_mesh((count,), ("data",), (AxisType.Auto,), devices=devices[:count])


def memory() -> int | None:
    """How many bytes of memory the first device here has; None where nothing says so."""
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit is None and hasattr(os, "sysconf"):  # not on Windows
        limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return limit


def on_each(mesh: Mesh) -> NamedSharding:
    """Where a value lies that every device has."""
    return NamedSharding(mesh, PartitionSpec())


def in_parts(mesh: Mesh, rank: int) -> NamedSharding:
    """Where an array lies whose last axis, of `rank`, the devices share in equal parts."""
    return NamedSharding(mesh, PartitionSpec(*[None] * (rank - 1), "data"))


def place(tree: Any, sharding: NamedSharding) -> Any:
    """A pytree with its leaves where they belong; each process gives the same values."""

    def place_leaf(leaf: Any) -> jax.Array:
        if isinstance(leaf, jax.Array) and leaf.sharding.is_equivalent_to(sharding, leaf.ndim):
            return leaf
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = place_leaf(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        whole = np.asarray(leaf)
        return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

    return jax.tree.map(place_leaf, tree)


def put(tree: Any, mesh: Mesh | None) -> Any:
    """A pytree of arrays on each device of a mesh, or on the default device."""
    return jax.tree.map(jnp.asarray, tree) if mesh is None else place(tree, on_each(mesh))


def local(tree: Any) -> Any:
    """What every device has, as arrays of this process's first device alone."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def is_first_process() -> bool:
    """Whether this process is the one that writes records and pictures."""
    return jax.process_index() == 0


def join(coordinator: str, processes: int | None, process: int | None) -> None:
    """Makes this process one of several, before anything is computed.

    The coordinator is HOST:PORT of process 0; "auto" takes it all from a cluster that JAX knows,
    such as SLURM. Raises UserError where the processes cannot meet.
    """
    try:
        if coordinator == "auto":
            jax.distributed.initialize(heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
        else:
            jax.distributed.initialize(
                coordinator, processes, process, heartbeat_timeout_seconds=HEARTBEAT_SECONDS
            )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"the processes cannot meet at --coordinator {coordinator} ({error}): give HOST:PORT "
            "of process 0, --processes and --process, or --coordinator auto on a cluster"
        ) from error


@contextlib.contextmanager
def leave_on_error() -> Iterator[None]:
    """In a run of several processes, an error ends this one soon, even while it waits for a peer.

    JAX ends the others once it is gone.
    """
    try:
        yield
    except Exception as error:
        own = isinstance(error, UserError) and isinstance(error.__cause__, OSError | None)
        if not own:  # a peer that died may have caused it: JAX then ends this process meanwhile
            time.sleep(HEARTBEAT_SECONDS + 5)
        leave = threading.Timer(
            LEAVE_SECONDS, os._exit, (2 if isinstance(error, UserError) else 1,)
        )
        leave.daemon = True
        leave.start()
        raise


def wait_for_all(what: str) -> None:
    """Waits until all processes have come here, each with the same words."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def asked_to_stop(steps: range) -> bool:
    """Whether several processes are to stop after these steps, for one of them got SIGTERM.

    All of them ask after the same steps, and leave none out: JAX picks the next after those that
    were asked about. A process alone handles signals itself.
    """
    if jax.process_count() == 1:
        return False
    return any([multihost_utils.reached_preemption_sync_point(step) for step in steps])
