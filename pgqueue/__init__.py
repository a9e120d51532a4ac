"""pgqueue: Dramatiq's actors on PostgreSQL alone."""

__version__ = "0.1.0"
