"""The one exception that a person can do something about."""


class UserError(Exception):
    """A mistake its user can mend: one line that says what was expected, what came, what to do.

    The command line prints the message without a stack trace and exits with code 2.
    """
