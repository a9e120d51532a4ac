"""Where Dramatiq programs look for the errors about results; they live in `pgqueue.errors`."""

from pgqueue.errors import ResultError, ResultFailure, ResultMissing, ResultTimeout

__all__ = ["ResultError", "ResultFailure", "ResultMissing", "ResultTimeout"]
