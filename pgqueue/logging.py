"""Names of loggers."""

from __future__ import annotations

import logging

__all__ = ["get_logger"]


def get_logger(module: str, name: str | type | None = None) -> logging.Logger:
    """Return the logger called ``module`` or ``module.name``.

    Parameters:
      name: A class stands for its name.
    """
    if name is None:
        return logging.getLogger(module)
    suffix = name.__name__ if isinstance(name, type) else name
    return logging.getLogger(f"{module}.{suffix}")
