"""What goes wrong, in words that reach the user or the client."""


class UserError(Exception):
    """A wrong option or folder; ends the command with exit code 2 and this one line."""


class RequestError(Exception):
    """An answer other than 200: `{"error": message}` with an HTTP status.

    Statuses are those to which TensorFlow Serving maps its errors: 400 invalid argument, 404 not
    found, 503 unavailable, 504 deadline exceeded; and 401, 408, 413, 415, which it does not have.

    Attributes:
        status: of HTTP.
        retry_after_s: when the same request may succeed; None when it will not.
    """

    def __init__(self, message: str, status: int = 400, retry_after_s: int | None = None):
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s
