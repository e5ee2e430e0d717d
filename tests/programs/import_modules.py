"""Imports modules by name, and prints the names of all modules that are then imported.

    python import_modules.py jaxae.models jaxae.train

Its arguments are the names of the modules.
"""

import sys
from importlib import import_module


def main(*modules: str) -> None:
    """Imports the modules in the order given."""
    for module in modules:
        import_module(module)
    print(*sys.modules)


if __name__ == "__main__":
    main(*sys.argv[1:])
