"""The error of an invalid job file."""


class JobFileError(Exception):
    """A job file or the flags of a command do not describe a valid job; names the file and line."""
