"""Rows of gpu.py's tables: what was measured, and numbers and words by their columns' names."""

import traceback
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]
"""Numbers and words by column; "what" names the row."""


def attempt(what: str, measure: Callable[[], Row]) -> Row:
    """A row's numbers, or why there are none: the rows after it are measured all the same."""
    try:
        return {"what": what, **measure()}
    except Exception as error:  # whatever a compiler, a driver or a lack of memory raises
        traceback.print_exc()
        return {"what": what, "failed": describe(error)}


def describe(error: Exception) -> str:
    """An error's kind and its first words."""
    words = (str(error).splitlines() or [""])[0][:80]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
