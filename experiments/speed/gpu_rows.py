"""Rows of gpu.py's tables: numbers and words by the names of their columns."""

import traceback
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]
"""Numbers and words by column; "what" names the row."""


def attempt(what: str, measure: Callable[[], Row]) -> Row:
    """Measures a row, or describes why it failed, so that later rows are still measured."""
    try:
        return {"what": what, **measure()}
    except Exception as error:  # compilers and drivers raise many kinds
        traceback.print_exc()
        return {"what": what, "failed": describe(error)}


def describe(error: Exception) -> str:
    """Returns an error's type and first words."""
    words = (str(error).splitlines() or [""])[0][:80]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
