"""Executes a notebook in its own kernel, and writes it with its outputs: NOTEBOOK OUTPUT."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main(source: Path, target: Path) -> None:
    notebook = nbformat.read(source, as_version=4)
    try:
        NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    finally:
        nbformat.write(notebook, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
