"""Devices that share the work: a mesh with a data axis, and several processes that act as one.

Each device of the mesh holds a part of the batch and a copy of everything else. The program is the
same as on one device: XLA partitions it by the sharding of its inputs, and sums gradients.
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
from jax.core import Tracer
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxae.errors import UserError

_HEARTBEAT_SECONDS = 20  # JAX treats a process that is silent for this long as dead
LEAVE_SECONDS = 10  # time to print an error and shut down with the other processes


def check_platforms() -> None:
    """Raises `UserError` if JAX_PLATFORMS names devices that are not there."""
    asked = jax.config.values["jax_platforms"]
    if not asked:
        return
    try:
        jax.devices()
    except (RuntimeError, AssertionError):  # which one depends on the platform
        jax.config.update("jax_platforms", None)
        platform = jax.devices()[0].platform
        raise UserError(
            f"JAX_PLATFORMS={asked}: JAX finds no such devices here, or lacks the plugin for them; "
            f"unset JAX_PLATFORMS to use {platform}, or install the plugin, as with "
            "pip install 'jaxae[cuda]'"
        ) from None


def limit_programs(most: int = 2_000) -> None:
    """Drops all compiled programs if there are more than `most`; those in use are compiled again.

    A process that trains or evaluates one run after another would keep them all. On a CPU, each
    takes about six memory maps, of which Linux allows a process 65,530, and XLA crashes without
    one.
    """
    if len(jax.local_devices()[0].client.live_executables()) > most:
        jax.clear_caches()


def data_mesh(count: int | None = None) -> Mesh:
    """Returns a mesh of one axis, "data", over the first `count` devices, by default all.

    Raises `UserError` if there are fewer, or if a process would have no device in the mesh.
    """
    devices = jax.devices()
    if count is None:
        count = len(devices)
    if not 1 <= count <= len(devices):
        raise UserError(
            f"{count} devices were asked for: there are {len(devices)} ({devices[0].platform}); "
            f"give from 1 to {len(devices)}, or leave the number out for all"
        )
    if jax.process_count() > 1 and count < len(devices):
        raise UserError(
            f"{count} of {len(devices)} devices were asked for in {jax.process_count()} processes: "
            "several processes use all devices; leave the number out"
        )
    return jax.make_mesh((count,), ("data",), (AxisType.Auto,), devices=devices[:count])


def memory() -> int | None:
    """Returns the bytes of memory of this process's first device; None if unknown."""
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit is None and hasattr(os, "sysconf"):  # not on Windows
        limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return limit


def cores() -> int:
    """Returns the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # on Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_on_one_cpu(tree: Any) -> bool:
    """Returns whether a pytree's JAX arrays lie on one CPU device; False if any is traced."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        return False
    found = {device for leaf in leaves for device in leaf.devices()}
    return [device.platform for device in found] == ["cpu"]


def on_each(mesh: Mesh) -> NamedSharding:
    """Returns the sharding that replicates a value on every device."""
    return NamedSharding(mesh, PartitionSpec())


def in_parts(mesh: Mesh, rank: int) -> NamedSharding:
    """Returns the sharding that splits the last axis of an array of this rank over devices."""
    return NamedSharding(mesh, PartitionSpec(*[None] * (rank - 1), "data"))


def place(tree: Any, sharding: NamedSharding) -> Any:
    """Moves the leaves of a pytree to a sharding; every process must give the same values."""

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
    """Copies a pytree of arrays to every device of a mesh, or to the default device."""
    return jax.tree.map(jnp.asarray, tree) if mesh is None else place(tree, on_each(mesh))


def local(tree: Any) -> Any:
    """Returns replicated values as arrays on this process's first device alone."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def is_first_process() -> bool:
    """Returns whether this process is the one that writes records and pictures."""
    return jax.process_index() == 0


def join(coordinator: str, processes: int | None, process: int | None) -> None:
    """Connects this process to the others of a run; call it before anything is computed.

    The coordinator is HOST:PORT of process 0; "auto" reads everything from a cluster that JAX
    supports, such as SLURM. Raises `UserError` if the processes cannot connect.
    """
    try:
        if coordinator == "auto":
            jax.distributed.initialize(heartbeat_timeout_seconds=_HEARTBEAT_SECONDS)
        else:
            jax.distributed.initialize(
                coordinator, processes, process, heartbeat_timeout_seconds=_HEARTBEAT_SECONDS
            )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"the processes cannot connect to --coordinator {coordinator} ({error}): give "
            "HOST:PORT of process 0, --processes and --process, or --coordinator auto on a cluster"
        ) from error


@contextlib.contextmanager
def leave_on_error() -> Iterator[None]:
    """Ends one of several processes soon after an error, even if it waits for another.

    JAX then ends the other processes.
    """
    try:
        yield
    except Exception as error:
        own = isinstance(error, UserError) and isinstance(error.__cause__, OSError | None)
        if not own:  # a dead peer may be the cause: then JAX ends this process during the sleep
            time.sleep(_HEARTBEAT_SECONDS + 5)
        leave = threading.Timer(
            LEAVE_SECONDS, os._exit, (2 if isinstance(error, UserError) else 1,)
        )
        leave.daemon = True
        leave.start()
        raise


def wait_for_all(what: str) -> None:
    """Waits until all processes have called this with the same text."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def asked_to_stop(steps: range) -> bool:
    """Returns whether the processes must stop after these steps, because one got SIGTERM.

    Every process must ask about every step: JAX stops them at the next step that none has asked
    about yet. A single process handles signals itself, and gets False.
    """
    if jax.process_count() == 1:
        return False
    return any([multihost_utils.reached_preemption_sync_point(step) for step in steps])
