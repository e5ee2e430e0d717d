"""Progress of an evaluation on standard error."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Seconds = dict[str, float]
"""How long each stage took, in their order."""


@contextlib.contextmanager
def stage(
    name: str, total: int | None = None, *, seconds: Seconds | None = None, which: str = ""
) -> Iterator[Callable[[int], object]]:
    """Shows a stage while it lasts, and prints its seconds when it ends.

    They are also added to `seconds` under the name. `which` says at the name's end what the stage
    is of, such as a replica.

    Yields a function that takes the number of examples done since its last call. A terminal shows
    a bar until the stage ends; elsewhere there is only the line. A stage that fails prints nothing.
    """
    from tqdm import tqdm

    started = time.perf_counter()
    with tqdm(
        desc=f"{name}{which}",
        total=total,
        unit=" examples",
        leave=False,
        dynamic_ncols=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        yield bar.update
    taken = time.perf_counter() - started
    if seconds is not None:
        seconds[name] = seconds.get(name, 0.0) + taken
    print(f"{name}{which}: {taken:.1f} s", file=sys.stderr, flush=True)
