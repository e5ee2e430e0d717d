"""Warm-up of the KL term in a run, counted in epochs."""

import math
import sys
from dataclasses import replace
from functools import partial

from jaxae import data, objectives
from jaxae.devices import is_first_process
from jaxae.errors import UserError
from jaxae.runs.options import RunOptions
from jaxae.runs.recipes import Recipe
from jaxae.train import steps_in_epoch

_MOST_STEPS = 2**31 - 1  # that an int32 counts


def with_kl_warmup(
    recipe: Recipe, shared: RunOptions, dataset: data.Dataset, epochs: float
) -> Recipe:
    """Returns a recipe in which the weight of the KL term grows from 0 over some epochs.

    The recipe's objective must take `kl_weight`, so binarization is added afterwards. Tests always
    use the full weight: their losses stay comparable between epochs, and the best checkpoint is not
    one of the warm-up, whose loss lacks a part of the KL term. 0 epochs change nothing. Warns if
    the run ends before the warm-up does. Raises `UserError` unless `epochs` is finite, 0 or more.
    """
    if not 0 <= epochs < math.inf:
        raise UserError(f"--kl-warmup {epochs:g}: give a number of epochs, 0 or more")
    if epochs == 0:
        return recipe
    examples = recipe.examples or dataset.train
    per_epoch = steps_in_epoch(
        len(examples.images), shared.batch_size, drop_remainder=shared.drop_remainder
    )
    if epochs > shared.epochs and shared.load is None and is_first_process():
        print(
            f"warning: --kl-warmup {epochs:g} is longer than this run of --epochs {shared.epochs}, "
            "which ends before its KL term has its full weight: give more epochs, or a shorter "
            "warm-up",
            file=sys.stderr,
        )
    steps = max(1, round(min(epochs * per_epoch, _MOST_STEPS)))
    return replace(
        recipe,
        objective=partial(objectives.kl_warmup, objective=recipe.objective, steps=steps),
        test_objective=recipe.test_objective or recipe.objective,
        collections={**(recipe.collections or {}), **objectives.kl_warmup_schedule()},
    )
