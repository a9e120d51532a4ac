"""Asking for metrics over HTTP as Prometheus does."""

import http.client
import socket

__all__ = ["free_port", "scrape"]


def scrape(port: int, path: str = "/metrics") -> dict[str, float]:
    """Ask for the metrics; return the values by name and labels."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path)
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
