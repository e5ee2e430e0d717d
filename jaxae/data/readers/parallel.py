"""Reads many files in threads, with a bar that shows the progress."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from jaxae import devices

if TYPE_CHECKING:
    from tqdm import tqdm

MANY = 5000  # files that take more than a moment to read

_Result = TypeVar("_Result")


def map_in_threads(
    function: Callable[[str], _Result], names: Sequence[str], at_once: int, bar: tqdm
) -> Iterator[tuple[int, list[_Result]]]:
    """Yields a function's results for names in order, so many at once, and the index of the first.

    No thread works while a part is yielded, so memory is bounded.
    """
    with ThreadPoolExecutor(count_decoders()) as pool:
        for start in range(0, len(names), at_once):
            with warnings.catch_warnings():
                # Pillow warns of odd metadata; what matters here does not depend on warnings.
                warnings.simplefilter("ignore")
                results = list(pool.map(function, names[start : start + at_once]))
            bar.update(len(results))
            yield start, results


@contextlib.contextmanager
def open_bar(total: int, doing: str, unit: str = "files") -> Iterator[tqdm]:
    """Opens a bar over many files, or other units, if stderr is a terminal."""
    from tqdm import tqdm

    hidden = total < MANY or not sys.stderr.isatty()
    with tqdm(total=total, desc=doing, unit=f" {unit}", dynamic_ncols=True, disable=hidden) as bar:
        yield bar


def count_decoders() -> int:
    """Returns how many threads or processes decode, each of which may hold a large picture."""
    return min(devices.cores(), 16)
