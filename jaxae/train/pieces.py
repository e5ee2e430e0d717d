"""The pieces of data that a fit's compiled loop reads, from the device or streamed from disk.

The epoch's order and the step decide which images are streamed next. A checkpoint holds both, so a
resumed run continues at the same image.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, pairwise
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh

from jaxae import devices
from jaxae.data import Column, open_reader
from jaxae.errors import UserError
from jaxae.train.batches import Examples

_CHUNK_STEPS = 32  # batches moved to the device at a time, unless a fit gives chunk_steps
_PIECE_BYTES = 2**26  # of a piece; three may be in memory: one in use, one read, one being read


class Piece(NamedTuple):
    """The steps that one call of a compiled loop takes, and the data that it reads."""

    epoch: int  # counted from 0
    start: int  # the first step, counted within the epoch
    stop: int  # the step after the last
    examples: Examples
    order: Any  # int32 [..., steps, batch], indices of the examples
    first: int  # the row of the order for `start`


def piece_bounds(
    done: int, epochs: int, steps_per_epoch: int, chunk_steps: int | None
) -> Iterator[tuple[int, int, int]]:
    """Yields (epoch, start, stop) of each remaining chunk of steps, as `fit` splits them."""
    while done < epochs * steps_per_epoch:
        epoch, start = divmod(done, steps_per_epoch)
        stop = steps_per_epoch
        if chunk_steps is not None:
            stop = min(stop, start + chunk_steps - done % chunk_steps)
        done += stop - start
        yield epoch, start, stop


def resident(
    examples: Examples,
    bounds: Iterator[tuple[int, int, int]],
    order_of: Callable[[int], Array],
    mesh: Mesh | None,
) -> Iterator[Piece]:
    """Yields pieces of data that fit on the device, replicated on the devices of a mesh."""
    examples = devices.put(examples, mesh)
    order, ordered_epoch = None, None
    for epoch, start, stop in bounds:
        if epoch != ordered_epoch:
            order, ordered_epoch = order_of(epoch), epoch
        yield Piece(epoch, start, stop, examples, order, start)


def stream(
    examples: Examples,
    bounds: Iterator[tuple[int, int, int]],
    order_of: Callable[[int], Array],
    steps: int | None,
    mesh: Mesh | None,
) -> Iterator[Piece]:
    """Yields pieces of streamed data, which a thread reads and moves to the devices ahead of use.

    A piece has at most `steps` steps, by default `_CHUNK_STEPS`, and fewer if their images exceed
    `_PIECE_BYTES`. All pieces hold the examples of equally many steps, so that the loop is compiled
    once; a shorter piece does not use its last steps. Raises `UserError` for inputs in memory.
    """
    assert isinstance(examples.images, Column)
    if examples.inputs is not None:
        raise UserError(
            "inputs in memory were given for images that are streamed: give both in memory, or "
            "compute the inputs in the objective"
        )
    split = examples.images.split
    *replicas, _, batch = jax.eval_shape(order_of, 0).shape
    rows = math.prod(replicas) * batch
    size = rows * math.prod(split.shape) * split.dtype.itemsize
    fitting = max(1, _PIECE_BYTES // size)
    if steps is None:
        steps = min(_CHUNK_STEPS, fitting)
    steps = -(-steps // -(-steps // fitting))  # of a chunk's pieces, about as long as each other
    with open_reader(split) as read, ThreadPoolExecutor(1) as thread:

        def load(piece: Piece, following: Piece | None) -> Piece:
            if following is not None:
                split.prefetch(_by_step(following.order))
            return _load(piece, read, steps * rows, mesh)

        ahead: deque[Future[Piece]] = deque()
        orders = _orders(examples, bounds, order_of, steps)
        try:
            for piece, following in pairwise(chain(orders, [None])):
                assert piece is not None
                ahead.append(thread.submit(load, piece, following))
                if len(ahead) == 2:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            thread.shutdown(cancel_futures=True)


def _orders(
    examples: Examples,
    bounds: Iterator[tuple[int, int, int]],
    order_of: Callable[[int], Array],
    steps: int,
) -> Iterator[Piece]:
    """Yields pieces of at most so many steps, whose order is of the examples on disk."""
    order, ordered_epoch = np.zeros(0), None
    for epoch, start, stop in bounds:
        if epoch != ordered_epoch:
            order, ordered_epoch = np.asarray(order_of(epoch)), epoch
        for low in range(start, stop, steps):
            high = min(low + steps, stop)
            yield Piece(epoch, low, high, examples, order[..., low:high, :], 0)


def _load(
    piece: Piece,
    read: Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]],
    rows: int,
    mesh: Mesh | None,
) -> Piece:
    """Returns a piece with `rows` examples on the devices, and with their order."""
    indices = _by_step(piece.order)
    images, labels = read(indices, rows)
    in_memory = piece.examples.labels
    if in_memory is None:
        labels = None
    elif not isinstance(in_memory, Column):
        labels = np.zeros(rows, in_memory.dtype)
        labels[: len(indices)] = in_memory[np.maximum(indices, ~indices)]
    *replicas, count, batch = piece.order.shape
    shape = (rows // math.prod((*replicas, batch)), *replicas, batch)
    order = np.moveaxis(np.arange(rows, dtype=np.int32).reshape(shape), 0, -2).copy()
    used = order[..., :count, :]  # a view
    np.copyto(used, ~used, where=piece.order < 0)
    if mesh is None:
        placed = devices.put(order, None)
    else:
        placed = devices.place(order, devices.in_parts(mesh, order.ndim))
    examples = replace(piece.examples, images=images, labels=labels)
    return piece._replace(examples=devices.put(examples, mesh), order=placed)


def _by_step(order: np.ndarray) -> np.ndarray:
    """Returns the indices of an order [..., steps, batch] as one vector, step after step."""
    return np.moveaxis(order, -2, 0).reshape(-1)
