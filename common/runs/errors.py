"""The exception for mistakes that a user can correct."""


class UserError(Exception):
    """A mistake that its user can correct, in one line: expected ..., got ...: what to do.

    The command line prints the message without a stack trace and exits with code 2.
    """
