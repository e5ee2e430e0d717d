"""The optimizers of `jaxae train`, with their schedules, clipping, weight decay and averages."""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import optax
from optax import contrib

from jaxae import train
from jaxae.errors import UserError

OptimizerName = Literal["adam", "adamw", "muon", "schedule-free"]
ScheduleName = Literal["constant", "cosine", "warmup-cosine", "plateau"]

_WARMUP = 0.05  # of all steps, by default
_WEIGHT_DECAY = {"adamw": 0.01, "muon": 0.01}  # by default; other optimizers have none
# The root mean square of Muon's updates of a kernel, as a multiple of the learning rate. With 0.2,
# which Liu et al. (2025) measured of AdamW, small networks trained slower than with Adam.
_MUON_RMS = 1.0


def make_optimizer(
    rate: float,
    steps: int,
    *,
    optimizer: OptimizerName = "adam",
    schedule: ScheduleName = "constant",
    warmup: float | None = None,
    clip: float | None = None,
    ema: float | None = None,
    weight_decay: float | None = None,
) -> optax.GradientTransformation:
    """Returns the optimizer that the options of `jaxae train` describe.

    Args:
      rate: the learning rate, at its highest.
      steps: the number of steps of the whole run.
      optimizer: its name.
      schedule: the name of the learning rate's schedule.
      warmup: the part of all steps in which the rate rises from 0; by default 0.05.
      clip: the largest global norm of the gradient; longer ones are scaled down to it.
      ema: the decay of a moving average of the parameters.
      weight_decay: of kernels, decoupled from the gradient; Adam with it is AdamW.

    Raises:
      UserError: an option is out of its range, or has no meaning with the others.
    """
    _check_ranges(warmup, clip, ema, weight_decay)
    _check_meaning(optimizer, schedule, warmup, ema)
    if weight_decay is None:
        weight_decay = _WEIGHT_DECAY.get(optimizer, 0.0)
    decay = weight_decay

    def make(rate: Any) -> optax.GradientTransformation:
        scheduled = _schedule(rate, steps, optimizer, schedule, warmup)
        made = _by_name(optimizer, scheduled, decay)
        if clip is not None:
            made = optax.chain(optax.clip_by_global_norm(clip), made)
        if schedule == "plateau":
            made = train.on_plateau(made)
        return made if ema is None else train.average_params(made, ema)

    return _with_rate_as_argument(make, rate)


def _with_rate_as_argument(
    make: Callable[[Any], optax.GradientTransformation], rate: float
) -> optax.GradientTransformationExtraArgs:
    """Returns an optimizer whose update may be given another learning rate, as an array."""
    usual = optax.with_extra_args_support(make(rate))

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        learning_rate: jax.Array | None = None,
        **extra: Any,
    ) -> tuple[Any, Any]:
        made = usual
        if learning_rate is not None:
            made = optax.with_extra_args_support(make(learning_rate))
        return made.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(usual.init, update)


def warmup_of(optimizer: OptimizerName, schedule: ScheduleName, warmup: float | None) -> float:
    """Returns the part of all steps in which the learning rate rises; 0 if it does not."""
    if optimizer != "schedule-free" and schedule != "warmup-cosine":
        return 0.0
    return _WARMUP if warmup is None else warmup


def _check_ranges(
    warmup: float | None, clip: float | None, ema: float | None, weight_decay: float | None
) -> None:
    """Raises `UserError` for the first option that is out of its range."""
    if warmup is not None and not 0 <= warmup < 1:
        raise UserError(f"--warmup {warmup}: give a part of all steps, from 0 to less than 1")
    if clip is not None and not 0 < clip < math.inf:
        raise UserError(f"--clip {clip}: give a positive number, or leave it out")
    if ema is not None and not 0 <= ema < 1:
        raise UserError(f"--ema {ema}: give 0 or more, and less than 1, such as 0.999")
    if weight_decay is not None and not 0 <= weight_decay < math.inf:
        raise UserError(f"--weight-decay {weight_decay}: give 0 or more")


def _check_meaning(
    optimizer: OptimizerName, schedule: ScheduleName, warmup: float | None, ema: float | None
) -> None:
    """Raises `UserError` for an option that has no meaning with the others."""
    if optimizer == "schedule-free":
        if schedule != "constant":
            raise UserError(
                f"--schedule {schedule}: --optimizer schedule-free averages the parameters instead "
                "of lowering the learning rate; leave out --schedule, or choose another optimizer"
            )
        if ema is not None:
            raise UserError(
                f"--ema {ema}: --optimizer schedule-free averages the parameters itself; leave out "
                "--ema, or choose another optimizer"
            )
    elif warmup is not None and schedule != "warmup-cosine":
        raise UserError(
            f"--warmup {warmup}: --schedule {schedule} has no warm-up; leave out --warmup, or "
            "choose --schedule warmup-cosine or --optimizer schedule-free"
        )


def _schedule(
    rate: Any,
    steps: int,
    optimizer: OptimizerName,
    schedule: ScheduleName,
    warmup: float | None,
) -> optax.ScalarOrSchedule:
    """Returns the learning rate, or the schedule of it by steps."""
    rising = min(int(warmup_of(optimizer, schedule, warmup) * steps), steps - 1)
    if schedule in ("cosine", "warmup-cosine"):
        if rising:
            # Of 1 at its highest, because optax compares the highest rate, which may be traced.
            part = optax.warmup_cosine_decay_schedule(0.0, 1.0, rising, steps)
            return lambda step: rate * part(step)
        return optax.cosine_decay_schedule(rate, steps)
    if rising:
        return optax.warmup_constant_schedule(0.0, rate, rising)
    # A schedule counts steps in the state, whose structure must not depend on their number.
    return optax.constant_schedule(rate) if optimizer == "schedule-free" else rate


def _by_name(
    name: OptimizerName, rate: optax.ScalarOrSchedule, weight_decay: float
) -> optax.GradientTransformation:
    """Returns the named optimizer, which decays kernels but not biases."""
    if name == "muon":
        return contrib.muon(
            rate,
            weight_decay=weight_decay,
            muon_weight_dimension_numbers=_matrices,
            consistent_rms=_MUON_RMS,
        )
    if name == "schedule-free":
        # As optax's schedule_free_adamw, whose weight decay cannot leave out biases.
        base = optax.chain(
            optax.scale_by_rms(0.999, eps_in_sqrt=False, bias_correction=True),
            optax.add_decayed_weights(weight_decay, mask=_kernels),
            optax.scale_by_learning_rate(rate),
        )
        return contrib.schedule_free(base, rate)
    if name == "adam" and not weight_decay:
        return optax.adam(rate)
    return optax.adamw(rate, weight_decay=weight_decay, mask=_kernels)


def _kernels(params: Any) -> Any:
    """Returns which parameters are kernels."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _matrices(params: Any) -> Any:
    """Returns how Muon reads each kernel as a matrix, as [H W in, out] if it is a convolution's.

    None stands for a bias, which Muon leaves to Adam.
    """

    def matrix(leaf: jax.Array) -> contrib.MuonDimensionNumbers | None:
        if leaf.ndim < 2:
            return None
        return contrib.MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1)

    return jax.tree.map(matrix, params)
