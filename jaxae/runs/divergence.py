"""Reports of losses that are not finite: the first step, and the cause."""

import math
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify

from jaxae import devices
from jaxae.checkpoint import named_leaves
from jaxae.errors import UserError
from jaxae.train import (
    Batch,
    Examples,
    Objective,
    Progress,
    State,
    epoch_order,
    gather,
    loss_and_gradient,
    steps_done,
)

_RISE = 0.1  # of the test loss before training, in proportion, that counts as a divergence
_PATIENCE = 10  # non-finite steps in a row that stop training


def check_finite(
    chunk: Progress, examples: Examples, *, objective: Objective, batch_size: int, debug: bool
) -> None:
    """Raises `UserError` if ten steps in a row, or one with `debug`, were not finite.

    The error names the epoch and the step of the first one. With `debug` it also names the
    operation, because the parameters are still those that the first such step started from.
    """
    counts = np.atleast_1d(chunk.state.skipped)
    replica = int(np.argmax(counts))
    count = int(counts[replica])
    if count < (1 if debug else _PATIENCE):
        return
    first = steps_done(chunk.state) - count
    epoch, index = divmod(first, chunk.steps_per_epoch)
    state = chunk.state
    if len(counts) > 1:
        state = jax.tree.map(lambda leaf: leaf[replica], state)
    if debug:
        state = devices.local(state)
        order = epoch_order(state.key, epoch, examples.images.shape[0], batch_size)
        state = state.replace(step=jnp.asarray(first, jnp.int32))
        advice = _find_cause(state, gather(examples, order[index]), objective=objective)
    else:
        advice = (
            "likely causes are a learning rate that is too high (--learning-rate), and pixels or "
            "targets that are not finite; --debug stops at the first such step and names the "
            "operation"
        )
    where = f" of replica {replica}" if len(counts) > 1 else ""
    steps = "1 step" if count == 1 else f"{count} steps in a row"
    raise UserError(
        f"training stopped: the loss or its gradient was NaN or infinite in {steps}, from epoch "
        f"{epoch + 1}, step {index + 1}{where} on, and such steps are discarded: {advice}"
    )


def describe_divergence(
    record: Mapping[str, Any], untrained: Mapping[str, Any] | None
) -> str | None:
    """Says that the test loss is not finite, or well above the untrained network's; else None.

    Both are test numbers as in a record; without those of the untrained network, only the first is
    checked. Of replicas, one is enough. Well above is a tenth of its size more: a short training
    on few images may end slightly above where it began.
    """
    losses, before = (
        np.asarray(numbers.get("test_loss_replicas", [numbers.get("test_loss", math.nan)]), float)
        for numbers in (record, untrained or {})
    )
    if not np.isfinite(losses).all():
        return "the test loss is not finite"
    limit = before + _RISE * np.abs(before)
    worse = np.broadcast_to(losses > limit, losses.shape)  # False where one is NaN
    if not worse.any():
        return None
    index = int(np.argmax(worse))
    where = f" of replica {index}" if losses.size > 1 else ""
    return (
        f"the test loss{where} rose from {before[index]:.4g} before training to {losses[index]:.4g}"
    )


def warn_of_losses(
    folder: Path, records: Sequence[Mapping[str, Any]], divergence: str | None
) -> None:
    """Prints a warning that lists the epochs whose loss is not finite, or of a divergence."""
    lost = [
        str(record["epoch"])
        for record in records
        if not all(
            math.isfinite(record.get(name, 0))
            for name in ("train_loss", "validation_loss", "test_loss")
        )
    ]
    if lost:
        listed = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        said = f"the loss of {folder} is not finite in epoch {listed}, and is null in its files"
    elif divergence is not None:
        said = f"in {folder}, {divergence}"
    else:
        return
    cause = "a likely cause is a learning rate that is too high (--learning-rate)"
    print(f"warning: {said}: {cause}", file=sys.stderr)


def _find_cause(state: State, batch: Batch, *, objective: Objective) -> str:
    """Returns which parameter or operation of a step is not finite, as a clause of an error."""
    for name, leaf in named_leaves(state.params).items():
        if not jnp.isfinite(leaf).all():
            return f"the parameters before that step already hold NaN or infinity, in {name}"
    step = checkify.checkify(
        partial(loss_and_gradient, objective=objective), errors=checkify.float_checks
    )
    error, _ = jax.jit(step)(state, batch)
    said = error.get()
    if said is None:
        return "no operation of that step gave NaN; a value grew beyond the largest float"
    return f"the first such operation: {said}"
