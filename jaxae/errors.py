"""Errors that users read, the exception that SIGTERM raises, and errors that may pass."""

import re
from pathlib import Path

MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
"""Errors that mean that a file does not exist."""

_PASSING = re.compile(
    r"PERMISSION_DENIED|RESOURCE_EXHAUSTED|os_error_code='(5|12|13|23|24|107|110|116|121)'"
)
"""Matches TensorStore's errors that do not mean that a file is damaged."""


class UserError(ValueError):
    """An error in the input or the environment that the user can fix.

    The message is one paragraph: what was given, what is allowed, what to do. Command lines print
    it without a traceback and exit with status 2.
    """


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM, which ends a run like Ctrl-C: its state is saved first."""


def may_pass(error: BaseException) -> bool:
    """Returns whether an error or its cause may pass, so that no file need be damaged.

    Such errors come from the system: too few file descriptors, too little memory, or a network disk
    that is offline. A missing file is not one of them.
    """
    if isinstance(error, BaseExceptionGroup) and any(map(may_pass, error.exceptions)):
        return True
    of_system = isinstance(error, OSError) and error.errno is not None
    if isinstance(error, MemoryError) or (of_system and not isinstance(error, MISSING)):
        return True
    cause = error.__cause__ or error.__context__
    return bool(_PASSING.search(str(error))) or (cause is not None and may_pass(cause))


def unreadable(path: Path, error: BaseException) -> UserError:
    """Returns the error for a file that cannot be read now, but may be intact."""
    reason = (str(error) or type(error).__name__).splitlines()[0][:200]
    return UserError(
        f"{path} cannot be read now ({reason}): make it readable, or make room in memory, and try "
        "again"
    )
