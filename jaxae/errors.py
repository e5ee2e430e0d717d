"""The error that a user is meant to read, and the end that a signal asks for."""


class UserError(ValueError):
    """Input or surroundings that the user can mend.

    The message is one paragraph: what was given, what is allowed, what to do. Command lines print
    it without a traceback and exit with status 2.
    """


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a run as Ctrl-C does: its state is saved first."""
