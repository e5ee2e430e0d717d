"""Moving averages of the parameters, and the variables that a state is evaluated with."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxae.errors import UserError
from jaxae.train.steps import State, variables_of
from jaxae.train.terms import Variables


class AveragedState(NamedTuple):
    """The state of `average_params`.

    Attributes:
      inner: the state of the optimizer that is wrapped.
      average: state of `optax.ema`, which starts at zero, of the parameters and of a constant 1.
    """

    inner: Any
    average: Any


def average_params(
    optimizer: optax.GradientTransformation, decay: float
) -> optax.GradientTransformationExtraArgs:
    """Wraps an optimizer to keep an exponential moving average of the parameters, too.

    `evaluation_variables` reads the average from a state. Each step multiplies the weights of all
    earlier parameters by the decay. The initial parameters have no weight. Raises `UserError` for a
    decay below 0, or of 1 or more.
    """
    if not 0 <= decay < 1:
        raise UserError(f"a decay of {decay} was given: give 0 or more, and less than 1")
    optimizer = optax.with_extra_args_support(optimizer)
    average = optax.ema(decay, debias=False)  # `_debiased` divides by the exact sum of weights

    def init(params: Any) -> AveragedState:
        return AveragedState(optimizer.init(params), average.init(_with_one(params)))

    def update(
        updates: Any, state: Any, params: Any = None, **extra: Any
    ) -> tuple[Any, AveragedState]:
        updates, inner = optimizer.update(updates, state.inner, params, **extra)
        new_params = optax.apply_updates(params, updates)
        _, new_average = average.update(_with_one(new_params), state.average)
        return updates, AveragedState(inner, new_average)

    return optax.GradientTransformationExtraArgs(init, update)


def evaluation_variables(state: State) -> Variables:
    """Returns the variables of a state, with the averaged parameters if its optimizer keeps any.

    With replicas they have a leading axis.
    """
    params = averaged_params(state)
    return variables_of(state) if params is None else {"params": params, **state.collections}


def averaged_params(state: State) -> Any | None:
    """Returns the averaged parameters that a state's optimizer keeps, or None if it keeps none.

    They are those of `average_params` or of `optax.contrib.schedule_free`, wherever in the
    optimizer it is used, unless it is used for some of the parameters only. Before the first step
    they are the parameters.
    """
    nodes = jax.tree.leaves(state.optimizer_state, is_leaf=_is_average)
    structure = jax.tree.structure(state.params)
    for node in filter(_is_average, nodes):
        if jax.tree.structure(_numbers_of(node)) == structure:
            return _averaged(node, state.params, replicas=state.step.ndim == 1)
    return None


def _is_average(node: Any) -> bool:
    """Returns whether a part of an optimizer's state holds averaged parameters."""
    return isinstance(node, AveragedState | optax.contrib.ScheduleFreeState)


def _numbers_of(node: Any) -> Any:
    """Returns the pytree like the parameters from which their average is computed."""
    return node.average.ema["params"] if isinstance(node, AveragedState) else node.z


@partial(jax.jit, static_argnames="replicas")
def _averaged(node: Any, params: Any, *, replicas: bool) -> Any:
    """Computes averaged parameters, with replicas those of each."""
    average = _debiased if isinstance(node, AveragedState) else _schedule_free
    with jax.numpy_dtype_promotion("standard"):  # optax promotes dtypes
        return jax.vmap(average)(node, params) if replicas else average(node, params)


_schedule_free = optax.contrib.schedule_free_eval_params


def _debiased(state: AveragedState, params: Any) -> Any:
    """Divides the moving average by that of 1, which is the sum of its weights.

    Rounding affects both alike. optax divides by 1 - decay**count, which in float32 is off by one
    part in 6,000 for a decay of 0.9999.
    """
    weight = state.average.ema["one"]
    divisor = jnp.where(weight > 0, weight, 1)  # it is 0 before the first step

    def divide(average: jax.Array, param: jax.Array) -> jax.Array:
        return jnp.where(weight > 0, (average / divisor).astype(param.dtype), param)

    return jax.tree.map(divide, state.average.ema["params"], params)


def _with_one(params: Any) -> dict[str, Any]:
    """Returns what is averaged: the parameters, and 1."""
    return {"params": params, "one": jnp.ones((), jnp.result_type(*jax.tree.leaves(params)))}
