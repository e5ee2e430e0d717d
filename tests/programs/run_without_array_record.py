"""Starts `jaxae` without the package array_record, which Windows does not have.

    python run_without_array_record.py train --epochs 1

Its arguments are those of `jaxae`.
"""

from jaxae.commands import main
from support.missing import hide

if __name__ == "__main__":
    hide(["array_record"])
    main()
