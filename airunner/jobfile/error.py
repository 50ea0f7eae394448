"""The error of a job file."""


class JobFileError(Exception):
    """A job file, or the flags beside it, describe no job: one sentence with file and line."""
