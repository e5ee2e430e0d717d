"""Reads examples of a stream, in processes of its own if it asks for some.

Pillow holds Python's lock while it decodes, so threads decode no faster than one of them.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import numpy as np

from jaxae.data.streaming import Arrays, StreamedSplit
from jaxae.errors import UserError

# Ctrl-C reaches all processes of a terminal, also while they import.
_PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
from jaxae.data.workers import serve
serve(int(sys.argv[1]))
"""


@contextlib.contextmanager
def open_reader(split: StreamedSplit) -> Iterator[Callable[[np.ndarray, int], Arrays]]:
    """Yields a function that reads like `StreamedSplit.read`, in as many processes as it says.

    Without any, the function decodes in the thread that calls it.
    """
    if not split.workers:
        yield split.read
        return
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(_start()) for _ in range(split.workers)]
        with _explained(len(workers)):
            for worker in workers:
                worker.send(split)

        def read(indices: np.ndarray, rows: int) -> Arrays:
            arrays = split.allocate(rows)
            bounds = np.linspace(0, len(indices), len(workers) + 1).astype(int).tolist()
            parts = [slice(*pair) for pair in pairwise(bounds)]
            with _explained(len(workers)):
                for worker, part in zip(workers, parts, strict=True):
                    worker.send(indices[part])
                errors = [
                    _receive(worker, *(array[part] for array in arrays))
                    for worker, part in zip(workers, parts, strict=True)
                ]
            for error in filter(None, errors):
                raise error  # only now, because a reply that is left would be that of the next read
            return arrays

        yield read


@contextlib.contextmanager
def _explained(count: int) -> Iterator[None]:
    """Raises a `UserError` if one of so many processes has ended."""
    try:
        yield
    except (EOFError, ConnectionError):
        raise UserError(
            f"one of {count} processes that decode images has ended, perhaps for lack of memory: "
            "free some, or give --workers 1; a run that was training continues with --resume"
        ) from None


def _receive(worker: Connection, images: np.ndarray, labels: np.ndarray) -> UserError | None:
    """Waits for the examples that a worker was asked for; returns the error that it met instead."""
    error = worker.recv()
    if error is None:
        for array in (images, labels):
            if array.size:
                worker.recv_bytes_into(_bytes_of(array))
    return error


@contextlib.contextmanager
def _start() -> Iterator[Connection]:
    """Starts a process that reads; ends it at the end.

    Unlike those of `multiprocessing`, it does not import the user's program again, so programs need
    no guard and it starts faster.
    """
    ours, theirs = Pipe()
    with ours:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
            )
        try:
            yield ours
        finally:
            process.kill()
            process.wait()


def serve(descriptor: int) -> None:
    """Reads examples of the split that comes through a connection, until its other end closes."""
    with Connection(descriptor) as connection, contextlib.suppress(EOFError, ConnectionError):
        split: StreamedSplit = connection.recv()
        while True:
            indices = connection.recv()
            try:
                arrays = split.read(indices)
            except UserError as error:
                connection.send(error)
                continue
            connection.send(None)
            for array in arrays:
                if array.size:
                    connection.send_bytes(_bytes_of(array))


def _bytes_of(array: np.ndarray) -> memoryview:
    """Returns the memory of a contiguous array."""
    return array.reshape(-1).view(np.uint8).data
