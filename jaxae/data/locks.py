"""Locks on datasets, so that one process prepares or decodes a set while others wait."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def lock(directory: Path, name: str, shown: str | None = None) -> Iterator[str | None]:
    """Locks a set in a folder, which is created; other processes wait, and call it `shown`.

    Yields None, or the problem if the folder is not writable.
    """
    from filelock import FileLock, Timeout

    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        # 0o666: other users lock the same file.
        held = FileLock(directory / f".{name.replace('/', '.')}.lock", mode=0o666)
        try:
            held.acquire(timeout=1)
        except Timeout:
            print(
                f"jaxae: waiting for another process to prepare {shown or name} ...",
                file=sys.stderr,
            )
            held.acquire()
    except OSError as error:
        yield error.strerror
        return
    try:
        yield None
    finally:
        held.release()
