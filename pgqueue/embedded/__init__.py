"""The bundled PostgreSQL server, behind ``embedded:`` URLs.

``start()`` gives a `Server` with a ``url``. The server is set up on first use, shared by all processes
that name the same directory, and stopped with the last of them. The extra ``embedded`` brings its programs.
"""

from .location import is_embedded_url
from .server import Server, start

__all__ = ["Server", "is_embedded_url", "start"]
