"""The error that a user is meant to read, and the end that a signal asks for."""

import re
from pathlib import Path

MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
"""Errors that say that there is no such file."""

_PASSING = re.compile(
    r"PERMISSION_DENIED|RESOURCE_EXHAUSTED|os_error_code='(5|12|13|23|24|107|110|116|121)'"
)
"""Errors of TensorStore that say nothing of what is on the disk."""


class UserError(ValueError):
    """Input or surroundings that the user can mend.

    The message is one paragraph: what was given, what is allowed, what to do. Command lines print
    it without a traceback and exit with status 2.
    """


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a run as Ctrl-C does: its state is saved first."""


def may_pass(error: BaseException) -> bool:
    """Whether an error, or what caused it, says nothing of what is on the disk.

    It is one of the system, such as too few file descriptors or a network disk that is away, and
    not that a file is missing.
    """
    if isinstance(error, BaseExceptionGroup) and any(map(may_pass, error.exceptions)):
        return True
    of_system = isinstance(error, OSError) and error.errno is not None
    if isinstance(error, MemoryError) or (of_system and not isinstance(error, MISSING)):
        return True
    cause = error.__cause__ or error.__context__
    return bool(_PASSING.search(str(error))) or (cause is not None and may_pass(cause))


def unreadable(path: Path, error: BaseException) -> UserError:
    """What to say of a file that may well be whole, and cannot be read now."""
    reason = (str(error) or type(error).__name__).splitlines()[0][:200]
    return UserError(
        f"{path} cannot be read now ({reason}): make it readable, or make room in memory, and try "
        "again"
    )
