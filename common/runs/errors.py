"""The exception for mistakes that a user can correct, and the line for failures of the disk."""

import errno
import os

_FULL = (errno.ENOSPC, errno.EDQUOT)
# Names and rights of files: what TensorFlow reports in the words of the system.
_OF_FILES = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR),
    *(errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO, errno.ENXIO),
    *(errno.EMFILE, errno.ENFILE, errno.EBUSY, errno.ESTALE, errno.EFBIG, errno.EXDEV),
)


class UserError(Exception):
    """A mistake that its user can correct, in one line: expected ..., got ...: what to do.

    The command line prints the message without a stack trace and exits with code 2.
    """


def as_line(error: Exception) -> str | None:
    """What a user is told of an error in one line; None where it is a defect of ours.

    That is a UserError, and whatever the system says of files, disks and pipes: an OSError, also
    in the words that TensorFlow, HDF5 and SQLite have for it, and as the cause of another error.
    """
    if isinstance(error, UserError):
        return str(error)
    text, path = " ".join(str(error).split()), getattr(error, "filename", None)
    if any(os.strerror(number) in text for number in _FULL):
        where = f" while writing {path}" if path else ""
        advice = "free some and run again; files written before are whole"
        return f"expected free disk space, found none{where}: {advice}"
    kinds = {base.__name__ for base in type(error).__mro__}
    words = "OpError" in kinds and any(os.strerror(number) in text for number in _OF_FILES)
    if not (isinstance(error, OSError) or words or type(error).__module__ == "sqlite3"):
        return as_line(error.__cause__) if isinstance(error.__cause__, Exception) else None
    reason = getattr(error, "strerror", None) if path else None
    what = path if reason else "files"
    return f"expected to read or write {what}, got: {reason or text}: check path and permissions"
