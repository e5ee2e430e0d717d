"""Imports jaxae alone, then uses one of its folders by name, as nobody has imported it yet.

    python use_a_folder.py train

Prints the names of all modules imported before it is used, and in a second line the module's name.
"""

import sys

import jaxae


def main(name: str) -> None:
    """Uses the folder as an attribute of the package."""
    print(*sys.modules)
    print(getattr(jaxae, name).__name__)


if __name__ == "__main__":
    main(*sys.argv[1:])
