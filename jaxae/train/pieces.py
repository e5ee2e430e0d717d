"""What each call of a fit's compiled loop reads: examples on the device, or streamed from disk.

What is streamed next follows from the order of the epoch and the step, both of which a checkpoint
has: a resumed run goes on at the same image.
"""

import contextlib
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from jax import Array
from jax.sharding import Mesh

from jaxae import devices
from jaxae.data import Column, Records, read_batches
from jaxae.errors import UserError
from jaxae.train.batches import Examples

CHUNK_STEPS = 32  # batches that go to the device at a time, where a fit does not say


class Piece(NamedTuple):
    """Steps that one call of a compiled loop takes, and what it reads."""

    epoch: int  # from 0
    start: int  # of the epoch's steps
    stop: int
    examples: Examples
    order: Any  # int32 [..., steps, batch], indices of the examples
    first: int  # the row of the order that `start` reads


def piece_bounds(
    done: int, epochs: int, steps_per_epoch: int, chunk_steps: int | None
) -> Iterator[tuple[int, int, int]]:
    """(epoch, start, stop) of each chunk of steps that is left, as `fit` yields them."""
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
    """The pieces of a fit whose examples all lie on the device, or on each of a mesh."""
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
    steps: int,
    mesh: Mesh | None,
) -> Iterator[Piece]:
    """The pieces of a fit whose examples are read on the way; one is on the device ahead of use."""
    assert isinstance(examples.images, Column)
    if examples.inputs is not None:
        raise UserError(
            "inputs in memory were given for images that are streamed: give both in memory, or "
            "make the inputs in the objective"
        )
    capped = (
        (epoch, low, min(low + steps, stop))
        for epoch, start, stop in bounds
        for low in range(start, stop, steps)
    )
    ahead = None
    for piece in read_pieces(examples.images.records, capped, order_of, steps):
        order = piece.order
        if mesh is not None:
            order = devices.place(order, devices.in_parts(mesh, order.ndim))
        piece = piece._replace(examples=devices.put(piece.examples, mesh), order=order)
        if ahead is not None:
            yield ahead
        ahead = piece
    if ahead is not None:
        yield ahead


def read_pieces(
    records: Records,
    bounds: Iterator[tuple[int, int, int]],
    order_of: Callable[[int], Array],
    steps: int,
) -> Iterator[Piece]:
    """The pieces of a fit in host memory, from (epoch, start, stop) of each and epochs' orders.

    The examples of each are those of `steps` steps, the last of which a shorter piece leaves
    unused: so they have one shape, and the loop is compiled once.
    """
    for epoch, group in groupby(bounds, key=itemgetter(0)):
        order = np.asarray(order_of(epoch))  # [..., steps, batch]
        pieces = list(group)
        with contextlib.closing(read_batches(records, order[..., pieces[0][1] :, :])) as batches:
            for _, start, stop in pieces:
                taken = [next(batches) for _ in range(start, stop)]
                examples, places = join_batches(taken, order[..., start:stop, :], steps)
                yield Piece(epoch, start, stop, examples, places, 0)


def join_batches(
    batches: list[tuple[np.ndarray, np.ndarray]], order: np.ndarray, steps: int
) -> tuple[Examples, np.ndarray]:
    """Batches one after the other as examples, zeros for those missing in `steps`; their order."""
    images = np.zeros((steps, *batches[0][0].shape), np.uint8)
    labels = np.zeros((steps, *batches[0][1].shape), np.int32)
    for step, (image_batch, label_batch) in enumerate(batches):
        images[step], labels[step] = image_batch, label_batch
    places = np.arange(labels.size, dtype=np.int32).reshape(labels.shape)
    places = np.moveaxis(places, 0, -2).copy()
    places[..., : len(batches), :][order < 0] = -1
    return Examples(images.reshape(-1, *images.shape[-3:]), labels.reshape(-1)), places
