"""The error for users to read, and the exception for a signal to stop."""

import re
from pathlib import Path

MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
"""Errors that mean that a file does not exist."""

_PASSING = re.compile(
    r"PERMISSION_DENIED|RESOURCE_EXHAUSTED|os_error_code='(5|12|13|23|24|107|110|116|121)'"
)
"""TensorStore's errors that do not mean that the file is damaged."""


class UserError(ValueError):
    """An error in the input or the environment that the user can fix.

    The message is one paragraph: what was given, what is allowed, what to do. Command lines print
    it without a traceback and exit with status 2.
    """


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM, which ends a run like Ctrl-C: its state is saved first."""


def may_pass(error: BaseException) -> bool:
    """Returns whether an error, or its cause, may pass: it does not mean a damaged file.

    Such errors come from the system, such as too few file descriptors or a network disk that is
    offline. A missing file is not one of them.
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
