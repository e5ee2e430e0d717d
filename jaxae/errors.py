"""The one error that a user is meant to read."""


class UserError(ValueError):
    """Input or surroundings that the user can mend.

    The message is one paragraph: what was given, what is allowed, what to do. Command lines print
    it without a traceback and exit with status 2.
    """
