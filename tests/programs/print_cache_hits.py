"""Compiles a small program as an experiment does.

    python print_cache_hits.py --no-compilation-cache

Takes the options of a run. Prints a number that the program computes, and how many programs came
from JAX's persistent cache.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxae.cli import run_main
from jaxae.runs import RunOptions


@dataclass(frozen=True)
class Options:
    """A run's options."""

    run: RunOptions = RunOptions(epochs=1, batch_size=1, learning_rate=1.0)


def main(options: Options) -> None:
    """Computes the number, and counts the cache hits."""
    hits = []
    jax.monitoring.register_event_listener(
        lambda event, **_: hits.append(event.endswith("cache_hits"))
    )
    print(jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((8, 8)))[0, 0], sum(hits))


if __name__ == "__main__":
    run_main(main, Options)
