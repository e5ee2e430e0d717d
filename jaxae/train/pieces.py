"""The pieces of data that a fit's compiled loop reads, from the device or streamed from disk.

The epoch's order and the step decide which images are streamed next. A checkpoint holds both, so a
resumed run continues at the same image.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from jax import Array
from jax.sharding import Mesh

from jaxae import devices
from jaxae.data import Column, StreamedSplit, read_batches
from jaxae.errors import UserError
from jaxae.train.batches import Examples

CHUNK_STEPS = 32  # batches moved to the device at a time, unless a fit gives chunk_steps


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
    steps: int,
    mesh: Mesh | None,
) -> Iterator[Piece]:
    """Yields pieces of streamed data, loaded one ahead; raises `UserError` for inputs in memory."""
    assert isinstance(examples.images, Column)
    if examples.inputs is not None:
        raise UserError(
            "inputs in memory were given for images that are streamed: give both in memory, or "
            "compute the inputs in the objective"
        )
    capped = (
        (epoch, low, min(low + steps, stop))
        for epoch, start, stop in bounds
        for low in range(start, stop, steps)
    )
    ahead = None
    for piece in _read_pieces(examples.images.split, capped, order_of, steps):
        order = piece.order
        if mesh is not None:
            order = devices.place(order, devices.in_parts(mesh, order.ndim))
        piece = piece._replace(examples=devices.put(piece.examples, mesh), order=order)
        if ahead is not None:
            yield ahead
        ahead = piece
    if ahead is not None:
        yield ahead


def _read_pieces(
    split: StreamedSplit,
    bounds: Iterator[tuple[int, int, int]],
    order_of: Callable[[int], Array],
    steps: int,
) -> Iterator[Piece]:
    """Yields pieces in host memory, for each (epoch, start, stop) and the orders of the epochs.

    All pieces hold the examples of `steps` steps, so that the loop is compiled once; a shorter
    piece does not use its last steps.
    """
    for epoch, group in groupby(bounds, key=itemgetter(0)):
        order = np.asarray(order_of(epoch))  # [..., steps, batch]
        pieces = list(group)
        with contextlib.closing(read_batches(split, order[..., pieces[0][1] :, :])) as batches:
            for _, start, stop in pieces:
                taken = [next(batches) for _ in range(start, stop)]
                examples, places = _join_batches(taken, order[..., start:stop, :], steps)
                if not split.source.labeled:
                    examples = replace(examples, labels=None)
                yield Piece(epoch, start, stop, examples, places, 0)


def _join_batches(
    batches: list[tuple[np.ndarray, np.ndarray]], order: np.ndarray, steps: int
) -> tuple[Examples, np.ndarray]:
    """Joins batches into examples, with zeros up to `steps` batches; also returns their order."""
    images, labels = (np.zeros((steps, *part.shape), part.dtype) for part in batches[0])
    for step, (image_batch, label_batch) in enumerate(batches):
        images[step], labels[step] = image_batch, label_batch
    places = np.arange(labels.size, dtype=np.int32).reshape(labels.shape)
    places = np.moveaxis(places, 0, -2).copy()
    padding = places[..., : len(batches), :]  # a view
    padding[order < 0] = ~padding[order < 0]
    images = images.reshape(-1, *images.shape[labels.ndim :])
    return Examples(images, labels.reshape(-1)), places
