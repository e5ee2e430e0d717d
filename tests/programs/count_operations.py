"""Counts what a training step of each recipe computes, with and without XLA's optimization.

    python tests/programs/count_operations.py --write

Prints a table in JSON; --write writes it to tests/experiments/operations.json, with which
tests/experiments/test_operations.py compares. The counts depend on XLA's version, but not on the
processor: XLA compiles for a CPU without optimizing the machine code.
"""

import json
import re
import sys
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp

# For the benchmark's files, because this is started by hand.
sys.path.append(str(Path(__file__).parents[2] / "experiments" / "speed"))

from experiment_files import configure, default_workload, load_experiment
from jaxae import runs, train
from jaxae.files import write_text
from jaxae.train import Examples, epoch_order
from speed_records import RECIPES
from speed_workloads import CHUNKS

TABLE = Path(__file__).parents[1] / "experiments" / "operations.json"
_SHAPE = (28, 28, 1)


def count(recipe: str) -> dict[str, int]:
    """Counts FLOPs and bytes before and after optimization, instructions, and fusions of a step."""
    workload = default_workload(recipe, CHUNKS)
    experiment = load_experiment(recipe)
    options = configure(experiment.Options(), workload)
    made = experiment.make_recipe(options, _SHAPE)
    state = runs.initial_state(options.run, made.network.model, made.optimizer, _SHAPE)
    examples = Examples(jnp.zeros((workload.images, *_SHAPE), jnp.uint8))
    order = epoch_order(state.key, 0, workload.images, workload.batch_size)
    step = train.make_training_step(made.objective, made.optimizer, replicas=False, guarded=False)
    # With another cache, a processor may convolve a batch in tiles.
    with mock.patch("jaxae.convolutions.tiles.cache_bytes", return_value=2**21):
        lowered = jax.jit(step).lower(0, state, (examples, order))
    compiled = lowered.compile(compiler_options={"xla_backend_optimization_level": "0"})
    program = compiled.as_text() or ""
    return {
        **_costs("before optimization", lowered.cost_analysis()),
        **_costs("compiled", compiled.cost_analysis()),
        "instructions": len(re.findall(r"^ +(?:ROOT )?%?[\w.-]+ = ", program, re.MULTILINE)),
        "fusions": program.count(" fusion("),
    }


def _costs(when: str, analysis) -> dict[str, int]:
    """Returns the FLOPs and the bytes of XLA's cost analysis."""
    return {
        f"FLOPs {when}": round(analysis["flops"]),
        f"bytes {when}": round(analysis["bytes accessed"]),
    }


def main() -> None:
    """Prints or writes the counts of all recipes."""
    table = {"jax": jax.__version__} | {recipe: count(recipe) for recipe in RECIPES}
    text = json.dumps(table, indent=1) + "\n"
    if sys.argv[1:] == ["--write"]:
        write_text(TABLE, text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
