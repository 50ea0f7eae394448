"""airunner: a self-hosted job queue server and its workers."""

__version__ = "0.1.0"
