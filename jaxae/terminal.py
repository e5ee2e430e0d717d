"""Lets a command go on if standard output or standard error is closed, broken or full."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO


class LossyStream:
    """A text stream that drops text it cannot write, and keeps the first error as `problem`."""

    def __init__(self, name: str, stream: TextIO | None, descriptor: int) -> None:
        self.name = name
        self.problem: OSError | None = None
        if stream is None:  # its descriptor was closed when Python started
            stream = os.fdopen(descriptor, "w", encoding="utf-8", closefd=False)
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes or drops a text; characters that the stream's encoding lacks are escaped."""
        encoding = self._stream.encoding or "utf-8"
        escaped = text.encode(encoding, "backslashreplace").decode(encoding)
        self._attempt(lambda: self._stream.write(escaped))
        return len(text)

    def flush(self) -> None:
        """Writes or drops buffered text."""
        self._attempt(self._stream.flush)

    def _attempt(self, use: Callable[[], Any]) -> None:
        try:
            use()
        except OSError as problem:
            self.problem = self.problem or problem
            # Buffered text would fail again, at the latest when Python exits.
            with contextlib.suppress(OSError), Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())


@contextlib.contextmanager
def losing_output() -> Iterator[None]:
    """Drops output that cannot be written, and at the end reports the loss on the other stream.

    The process then exits with 1, or with its own code if not 0. A pipe that is closed while
    `--help` is printed does not count as a loss.
    """
    _take_closed_descriptors()
    before = sys.stdout, sys.stderr
    output = LossyStream("standard output", sys.stdout, 1)
    errors = LossyStream("standard error", sys.stderr, 2)
    sys.stdout, sys.stderr = output, errors  # pyright: ignore[reportAttributeAccessIssue]
    ended = None
    try:
        yield
    except SystemExit as end:
        ended = end
    finally:
        sys.stdout, sys.stderr = before
        output.flush()
        errors.flush()
    helped = ended is not None and not ended.code
    for stream, other in ((output, errors), (errors, output)):
        if stream.problem and not (helped and isinstance(stream.problem, BrokenPipeError)):
            print(
                f"error: {stream.name} cannot be written ({stream.problem.strerror}), so part "
                "of it is lost, and nothing else: keep it open, or send it to a file on a disk "
                "with free space",
                file=other,  # pyright: ignore[reportArgumentType]
                flush=True,
            )
            if ended is None or not ended.code:
                ended = SystemExit(1)
    if ended is not None:
        raise ended


def _take_closed_descriptors() -> None:
    """Opens descriptors 0 to 2 if they are closed, so that no file of a run gets one of them.

    Otherwise a C library's text for standard error could be written into a checkpoint. The opened
    descriptors cannot be written to.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # opens as the lowest free descriptor
