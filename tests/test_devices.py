"""Compiled programs of a process: dropped once there are many."""

import jax
import jax.numpy as jnp

from jaxae import devices


def test_programs_are_dropped_only_if_there_are_many() -> None:
    traced = []

    @jax.jit
    def double(x: jax.Array) -> jax.Array:
        traced.append(x)
        return 2 * x

    assert double(jnp.ones(())) == 2
    count = len(jax.devices()[0].client.live_executables())
    devices.limit_programs(most=count)
    assert double(jnp.ones(())) == 2
    assert len(traced) == 1
    devices.limit_programs(most=count - 1)
    assert len(jax.devices()[0].client.live_executables()) < count
    assert double(jnp.ones(())) == 2
    assert len(traced) == 2
