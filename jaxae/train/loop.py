"""The training loop: a fit over epochs that yields its progress after each chunk of steps.

Nothing here depends on a model: `terms` defines objectives and `steps` the step.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae import devices
from jaxae.data import Column
from jaxae.errors import UserError
from jaxae.train.batches import Examples, check_examples, steps_in_epoch
from jaxae.train.epochs import make_loop, make_order, make_training_step, no_totals
from jaxae.train.pieces import piece_bounds, resident, stream
from jaxae.train.steps import State, all_finite, with_numbers, without_numbers
from jaxae.train.terms import Metrics, Objective, averages
from jaxae.train.tiles import ByExample


class Progress(NamedTuple):
    """The progress of a fit, after some or all steps of an epoch.

    Attributes:
      state: the state after these steps.
      totals: sums over the epoch's examples so far, and "weight", their number.
      epoch: the epoch, counted from 1.
      steps: the number of steps taken in this epoch.
      steps_per_epoch: the number of steps in a whole epoch.
    """

    state: State
    totals: Metrics
    epoch: int
    steps: int
    steps_per_epoch: int

    @property
    def finished_epoch(self) -> bool:
        """Whether the epoch is complete."""
        return self.steps == self.steps_per_epoch

    @property
    def metrics(self) -> Metrics:
        """Means over the epoch's examples so far: the loss and the objective's metrics."""
        return averages(self.totals)


def steps_done(state: State) -> int:
    """Returns the number of steps a state has taken, the same for all its replicas."""
    return int(np.asarray(state.step).reshape(-1)[0])


def fit(
    state: State,
    examples: Examples,
    *,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    epochs: int,
    batch_size: int,
    totals: Metrics | None = None,
    chunk_steps: int | None = None,
    drop_remainder: bool = False,
    mesh: Mesh | None = None,
    numbers: Mapping[str, Float[ArrayLike, "*replicas"]] | None = None,
    revise: Callable[[State], State] | None = None,
) -> Iterator[Progress]:
    """Trains from the state's step to the end of the last epoch; yields after each chunk of steps.

    A chunk ends with the epoch, and at each multiple of `chunk_steps` if that is given. To continue
    within an epoch, give the state and its totals. A state with a leading axis trains that many
    replicas on the same examples, each in its own order: one per core on a CPU, else all at once.
    The devices of a mesh (`devices.data_mesh`) share each batch; its size need not be a multiple of
    their number. After an epoch has been yielded, `revise` returns the state that the next one
    begins with, for example by `observe_loss`.

    Fits that differ only in `numbers`, scalars or [R] of R replicas, compile to the same program,
    which takes them as values. The objective finds them in the variables' collection "numbers", and
    the optimizer gets the one called learning_rate as an argument of its update. Yielded states are
    without them.

    An incomplete last batch is padded with other examples of weight 0, which count only in what a
    network computes from a whole batch, such as the statistics of batch normalization. With
    `drop_remainder` it is left out, and each epoch leaves out other examples.

    A non-finite step is discarded, as by `take_step`; to find it, the fit waits for each chunk. If
    all results of a chunk are finite, its steps are kept, even one whose infinite gradient the
    optimizer made finite, as `optax.clip` does. Streamed examples (`data.Column`) are read in
    pieces of bounded size while others compute; without `chunk_steps`, a chunk is such a piece.
    Raises `UserError` for examples or a batch size that cannot be trained on.
    """
    if epochs < 1 or (chunk_steps is not None and chunk_steps < 1):
        raise UserError(
            f"{epochs} epochs in chunks of {chunk_steps} steps were given: give 1 or more of each, "
            "or leave out chunk_steps"
        )
    if mesh is not None and isinstance(objective, ByExample):
        objective = objective.objective  # else devices would add up their gradients in each tile
    examples = check_examples(examples, batch_size)
    size = examples.images.shape[0]
    steps_per_epoch = steps_in_epoch(size, batch_size, drop_remainder=drop_remainder)
    replicas = state.step.ndim == 1
    # The unguarded loop is faster; a chunk with a non-finite result is repeated with the guard.
    loop, guarded_loop = (
        make_loop(
            make_training_step(objective, optimizer, replicas=False, guarded=guarded),
            mesh,
            replicas=replicas,
        )
        for guarded in (False, True)
    )
    is_finite = jax.jit(all_finite)
    if totals is None:
        totals = no_totals(state, examples, objective=objective, batch_size=batch_size)
    if mesh is not None:
        state, totals = devices.place((state, totals), devices.on_each(mesh))
    make = partial(make_order, replicas=replicas, mesh=mesh, drop_remainder=drop_remainder)
    order_of = partial(make(size, batch_size), state.key)
    bounds = piece_bounds(steps_done(state), epochs, steps_per_epoch, chunk_steps)
    if isinstance(examples.images, Column):
        pieces = stream(examples, bounds, order_of, chunk_steps, mesh)
    else:
        pieces = resident(examples, bounds, order_of, mesh)

    so_far, zeros = totals, jax.tree.map(jnp.zeros_like, totals)
    state = _numbered(state, numbers, mesh)
    for piece in pieces:
        if piece.start == 0:
            so_far = zeros
        context = (piece.examples, piece.order)
        rows = (piece.first, piece.first + piece.stop - piece.start)
        start = (state, so_far)
        state, so_far = loop(*start, context, *rows)
        if not is_finite((state, so_far)):
            state, so_far = guarded_loop(*start, context, *rows)
        done = piece.epoch * steps_per_epoch + piece.stop
        if chunk_steps is None or done % chunk_steps == 0 or piece.stop == steps_per_epoch:
            yield Progress(
                without_numbers(state), so_far, piece.epoch + 1, piece.stop, steps_per_epoch
            )
        if revise is not None and piece.stop == steps_per_epoch:
            state = _numbered(revise(without_numbers(state)), numbers, mesh)


def _numbered(
    state: State, numbers: Mapping[str, Float[ArrayLike, "*replicas"]] | None, mesh: Mesh | None
) -> State:
    """Returns a state with the numbers of its fit, on the devices of the mesh."""
    if not numbers:
        return state
    state = with_numbers(state, numbers)
    return state if mesh is None else devices.place(state, devices.on_each(mesh))
