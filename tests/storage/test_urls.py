"""URLs are shown as they are but for their secrets, and refused where a secret may be taken for something else."""

from urllib.parse import quote

import pytest
from hypothesis import given, strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool

from pgqueue.errors import BrokerNotConfigured
from pgqueue.storage.urls import UNREADABLE, conninfo_of_pool, redacted, settings_of

SHOWN = {
    "postgresql://me:secret@host/db": "postgresql://me:***@host/db",
    "postgres://:secret@host/db": "postgres://:***@host/db",
    "postgresql+psycopg://me:secret@host:5432/db": "postgresql+psycopg://me:***@host:5432/db",
    "postgresql://me:se%2Fcret@h1:1,h2:2/db?target_session_attrs=read-write": (
        "postgresql://me:***@h1:1,h2:2/db?target_session_attrs=read-write"
    ),
    "postgresql://me:secret@h1,[::1]/db?port=5": "postgresql://me:***@h1,[::1]/db?port=5",
    "postgresql://me:se?cret#@host/db": "postgresql://me:***@host/db",
    "postgresql://me@/db?host=/run/pg&port=5433": "postgresql://me@/db?host=/run/pg&port=5433",
    "postgresql:///?service=shop": "postgresql:///?service=shop",
    "postgresql://h/db?options=-c%20search_path%3Dx": "postgresql://h/db?options=-c%20search_path%3Dx",
    "postgresql://me%40shop:secret@h/gr%C3%B6%C3%9Fe%40x": "postgresql://me%40shop:***@h/größe%40x",
    "postgresql://h/db?connect_timeout=abc": "postgresql://h/db?connect_timeout=abc",
    "postgresql://h/db?p%61ssword=secret": "postgresql://:***@h/db",
    "postgresql://h/db?ssl%70assword=secret&sslkey=/key": "postgresql://h/db?sslkey=/key&sslpassword=***",
    "postgresql://h/db?oauth_client_secret=secret": "postgresql://h/db?oauth_client_secret=***",
    "host=h password='se cret' dbname=d": "password=*** dbname=d host=h",
    "host=h password=a&secret": "password=*** host=h",
    "host=h passfile=/pass scram_client_key=secret scram_server_key=secret": (
        "passfile=/pass host=h scram_client_key=*** scram_server_key=***"
    ),
    "service=shop": "service=shop",
    "embedded:/dir?port=5433": "embedded:/dir?port=5433",
    "": "",
}

#: A / or an @ of a password, as it is.
MISREAD = [
    "postgresql://me:pa/secret@host/db",
    "postgresql://me:secret/pa@host/db",
    "postgresql://me:1234/secret@host/db",
    "postgresql://me:1234/secret@host",
    "postgresql://me:p@secret@host/db",
    "postgresql://me:p@12/secret@host/db",
    "postgresql://me:p@h?12/secret@host/db",
    "postgresql://me:p@h:secret@host/db",
    "postgresql://me:secret@host:12a/db",
    "host=h dbname='postgresql://me:secret@host/db'",
]


@pytest.mark.parametrize(("url", "shown"), SHOWN.items())
def test_secrets_are_not_shown_and_all_else_is(url: str, shown: str) -> None:
    assert redacted(url) == shown


@pytest.mark.parametrize("url", MISREAD)
def test_what_is_read_wrongly_is_refused_and_not_shown(url: str) -> None:
    assert redacted(url) == redacted(url.replace("postgresql:", "postgresql+psycopg:", 1)) == UNREADABLE
    with pytest.raises(BrokerNotConfigured, match="is written %2F, an @ %40") as refused:
        settings_of(url)
    assert "secret" not in str(refused.value)
    with pytest.raises(BrokerNotConfigured, match="%2F"):
        conninfo_of_pool(ConnectionPool(url, open=False))


@pytest.mark.parametrize(
    "url",
    ["mysql://me:secret@host/db", "host=h password='secret", "postgresql://h/db?password='x&user=secret"],
)
def test_what_can_not_be_read_is_not_shown(url: str) -> None:
    assert redacted(url) == UNREADABLE


def test_a_database_may_have_an_at_sign_in_its_name() -> None:
    for url in ("postgresql://host/shop%402", "host=host dbname=shop@2"):
        assert settings_of(url)["dbname"] == "shop@2"


TEXTS = st.text(st.characters(exclude_categories=["C"]), min_size=1)


@given(TEXTS, st.text(st.sampled_from("äö/@:?#&=%'\\ ,[]12")), TEXTS)
def test_what_is_shown_is_read_as_it_was_but_for_the_secrets(user: str, password: str, database: str) -> None:
    """Whatever is in a name or a password."""
    known = {"user": user, "password": f"s3cr3t{password}", "dbname": database, "host": "h"}
    name, secret, path = (quote(known[key], safe="") for key in ("user", "password", "dbname"))
    for form in (f"postgresql://{name}:{secret}@h/{path}", make_conninfo(**known)):
        shown = redacted(form)
        if "://" not in database:
            assert "s3cr3t" not in shown
            assert conninfo_to_dict(shown) == {**known, "password": "***"}
        else:
            assert shown == UNREADABLE
