"""Progress of an evaluation on standard error."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def stage(name: str, total: int | None = None) -> Iterator[Callable[[int], object]]:
    """Shows a stage while it lasts, and prints its seconds when it ends.

    Yields a function that takes the number of examples done since its last call. A terminal shows
    a bar until the stage ends; elsewhere there is only the line. A stage that fails prints nothing.
    """
    from tqdm import tqdm

    started = time.perf_counter()
    with tqdm(
        desc=name,
        total=total,
        unit=" examples",
        leave=False,
        dynamic_ncols=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        yield bar.update
    print(f"{name}: {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
