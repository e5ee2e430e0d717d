"""Packages that cannot be imported, as if they were not installed."""

import sys
from collections.abc import Collection
from importlib.abc import MetaPathFinder
from typing import Any


class _Missing(MetaPathFinder):
    """Finds none of these packages, and lets others be found."""

    def __init__(self, packages: Collection[str]) -> None:
        self.packages = packages

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """Raises ModuleNotFoundError for a module of a missing package."""
        if fullname.partition(".")[0] in self.packages:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def hide(packages: Collection[str]) -> None:
    """Makes packages that are not imported yet impossible to import, for the rest of a process."""
    sys.meta_path.insert(0, _Missing(packages))
