"""Imports jaxae alone, then uses one of its folders that has not been imported yet.

    python use_a_folder.py train

Prints the names of all modules imported before that, then the folder's name in a second line.
"""

import sys

import jaxae


def main(name: str) -> None:
    """Uses the folder as an attribute of the package."""
    print(*sys.modules)
    print(getattr(jaxae, name).__name__)


if __name__ == "__main__":
    main(*sys.argv[1:])
