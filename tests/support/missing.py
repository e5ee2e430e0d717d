"""Packages that cannot be imported, as if they were not installed."""

import sys
from collections.abc import Collection
from importlib.abc import MetaPathFinder
from typing import Any


class _Missing(MetaPathFinder):
    """Refuses to find some packages, and leaves all others to the next finder."""

    def __init__(self, packages: Collection[str]) -> None:
        self.packages = packages

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """Raises `ModuleNotFoundError` for a module of a missing package."""
        if fullname.partition(".")[0] in self.packages:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def hide(packages: Collection[str]) -> None:
    """Makes packages that are not yet imported impossible to import in this process."""
    sys.meta_path.insert(0, _Missing(packages))
