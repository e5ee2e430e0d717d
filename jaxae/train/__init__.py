"""Training as pure functions of a state: batches, steps, epochs, evaluation, and fits.

Nothing here depends on a model. An `Objective` is a function `(variables, key, batch) -> Terms`:

- variables: {"params": ...} and the other collections that `init` was given, without a gradient
- key: typed PRNG key, different at each step; may be ignored
- batch: a `Batch`, whose examples of weight 0 are padding
- returns `Terms`: the loss of each example [B], and metrics by name

`Metrics` are a dict from names to scalar float arrays, or [R] with R replicas.
"""

from jaxae.train.arrays import (
    apply_in_parts,
    as_array,
    canonicalize_array,
    check_floats,
    is_standardized,
)
from jaxae.train.averages import average_params, averaged_params, evaluation_variables
from jaxae.train.batches import (
    Batch,
    Examples,
    canonicalize,
    check_examples,
    epoch_order,
    gather,
    pixels,
    steps_in_epoch,
)
from jaxae.train.epochs import make_epoch, make_evaluation, make_step, make_training_step, no_totals
from jaxae.train.loop import Progress, fit, steps_done
from jaxae.train.plateau import observe_loss, on_plateau
from jaxae.train.steps import (
    NUMBERS,
    State,
    init,
    loss_and_gradient,
    take_step,
    variables_of,
    with_numbers,
)
from jaxae.train.terms import Metrics, Objective, Terms, Variables, weighted_mean
from jaxae.train.tiles import ByExample

__all__ = [
    "NUMBERS",
    "Batch",
    "ByExample",
    "Examples",
    "Metrics",
    "Objective",
    "Progress",
    "State",
    "Terms",
    "Variables",
    "apply_in_parts",
    "as_array",
    "average_params",
    "averaged_params",
    "canonicalize",
    "canonicalize_array",
    "check_examples",
    "check_floats",
    "epoch_order",
    "evaluation_variables",
    "fit",
    "gather",
    "init",
    "is_standardized",
    "loss_and_gradient",
    "make_epoch",
    "make_evaluation",
    "make_step",
    "make_training_step",
    "no_totals",
    "observe_loss",
    "on_plateau",
    "pixels",
    "steps_done",
    "steps_in_epoch",
    "take_step",
    "variables_of",
    "weighted_mean",
    "with_numbers",
]
