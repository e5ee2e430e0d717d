"""The command `jaxae` for a user who has no array_record, as on Windows.

python run_without_array_record.py train --epochs 1
"""

from jaxae.commands import main
from support.missing import hide

if __name__ == "__main__":
    hide(["array_record"])
    main()
