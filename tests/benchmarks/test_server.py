from __future__ import annotations

import psycopg

from benchmarks.server import Bench, server_on_loopback


def test_counts_are_scaled_and_have_a_least() -> None:
    bench = Bench("", scale=0.5)
    assert (bench.count(1_000), bench.count(10), bench.count(10, least=7)) == (500, 20, 7)


def test_what_is_large_is_scaled_unless_everything_is_to_be_as_large_as_in_the_targets() -> None:
    assert Bench("", scale=0.5).large(1_000, 1_000_000, least=2) == 500
    assert Bench("", scale=0.5, full=True).large(1_000, 1_000_000, least=2) == 1_000_000


def test_the_bundled_server_takes_connections_over_tcp_with_more_settings() -> None:
    with server_on_loopback({"max_connections": "123"}) as url, psycopg.connect(url) as conn:
        assert conn.info.host == "127.0.0.1"
        assert conn.execute(
            "SELECT current_setting('max_connections'), current_setting('fsync')"
        ).fetchone() == (
            "123",
            "on",
        )
