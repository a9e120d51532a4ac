"""Applications on libraries that block."""

from __future__ import annotations

from typing import Any

import django
import django.db
import psycopg
import sqlalchemy
from django.apps import apps
from django.conf import settings
from django.db import transaction
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import orm
from sqlalchemy.pool import NullPool

from .apps import App

__all__ = ["SYNC_APPS", "DjangoApp", "PsycopgApp", "SqlalchemyApp", "engine_options"]


class PsycopgApp(App):
    """A psycopg connection, not in autocommit mode."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.target: psycopg.Connection[Any] = psycopg.connect(url)

    def begin(self) -> None:
        self.execute("SELECT 1")

    def commit(self) -> None:
        self.target.commit()

    def rollback(self) -> None:
        self.target.rollback()

    def savepoint(self) -> None:
        self.execute("SAVEPOINT here")

    def rollback_to_savepoint(self) -> None:
        self.execute("ROLLBACK TO SAVEPOINT here")

    def release_savepoint(self) -> None:
        self.execute("RELEASE SAVEPOINT here")

    def execute(self, sql: str) -> None:
        self.target.execute(sql.encode())

    def close(self) -> None:
        self.target.close()


def engine_options(url: str, driver: str) -> dict[str, Any]:
    """What an SQLAlchemy engine for a driver is made with; each driver takes the directory of a socket otherwise."""
    given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    options: dict[str, Any] = {"poolclass": NullPool}
    host = given.get("host")
    in_directory = host is not None and host.startswith("/")
    if driver == "pg8000" and in_directory:
        options["connect_args"] = {"unix_sock": f"{host}/.s.PGSQL.{given.get('port', 5432)}"}
    options["url"] = sqlalchemy.URL.create(
        f"postgresql+{driver}",
        username=given.get("user"),
        password=given.get("password"),
        host=None if in_directory else host,
        port=None if in_directory else int(given.get("port") or 5432),
        database=given["dbname"],
        query={"host": str(host), "port": str(given.get("port", 5432))}
        if in_directory and driver != "pg8000"
        else {},
    )
    return options


class SqlalchemyApp(App):
    """An SQLAlchemy connection."""

    driver = "psycopg"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.engine = sqlalchemy.create_engine(**engine_options(url, self.driver))
        self.target: Any = self._open()
        self._savepoint: Any = None

    def _open(self) -> Any:
        return self.engine.connect()

    def begin(self) -> None:
        self.target.begin()

    def commit(self) -> None:
        self.target.commit()

    def rollback(self) -> None:
        self.target.rollback()

    def savepoint(self) -> None:
        self._savepoint = self.target.begin_nested()

    def rollback_to_savepoint(self) -> None:
        self._savepoint.rollback()

    def release_savepoint(self) -> None:
        self._savepoint.commit()

    def execute(self, sql: str) -> None:
        self.target.execute(sqlalchemy.text(sql))

    def close(self) -> None:
        self.target.close()
        self.engine.dispose()


class SessionApp(SqlalchemyApp):
    """An SQLAlchemy session."""

    def _open(self) -> Any:
        return orm.Session(self.engine)


class ScopedSessionApp(SqlalchemyApp):
    """A scoped_session."""

    def _open(self) -> Any:
        return orm.scoped_session(orm.sessionmaker(self.engine))

    def close(self) -> None:
        self.target.remove()
        self.engine.dispose()


class Psycopg2App(SqlalchemyApp):
    driver = "psycopg2"


class Psycopg2SessionApp(SessionApp):
    driver = "psycopg2"


class Pg8000App(SqlalchemyApp):
    driver = "pg8000"


class Pg8000SessionApp(SessionApp):
    driver = "pg8000"


class DjangoApp(App):
    """A Django connection by its alias."""

    alias = "pgqueue_tests"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        if not settings.configured:
            settings.configure()
        if not apps.ready:
            django.setup()
        given = conninfo_to_dict(url)
        django.db.connections.settings[self.alias] = django.db.connections.configure_settings(
            {
                "default": {},
                self.alias: {
                    "ENGINE": "django.db.backends.postgresql",
                    "NAME": given["dbname"], "USER": given.get("user", ""), "HOST": given.get("host", ""),
                    "PORT": str(given.get("port", "")), "PASSWORD": given.get("password", ""),
                },
            }
        )[self.alias]  # fmt: skip
        self.wrapper = django.db.connections[self.alias]
        self.target: Any = self.alias
        self._atomics: list[Any] = []

    def begin(self) -> None:
        self._atomics.append(transaction.atomic(using=self.alias))
        self._atomics[-1].__enter__()

    def commit(self) -> None:
        self._atomics.pop().__exit__(None, None, None)

    def rollback(self) -> None:
        error = RuntimeError("rolled back")
        self._atomics.pop().__exit__(type(error), error, None)

    def savepoint(self) -> None:
        self.begin()

    def rollback_to_savepoint(self) -> None:
        self.rollback()

    def release_savepoint(self) -> None:
        self.commit()

    def execute(self, sql: str) -> None:
        with self.wrapper.cursor() as cursor:
            cursor.execute(sql)

    def close(self) -> None:
        while self._atomics:
            self.rollback()
        self.wrapper.close()
        del django.db.connections[self.alias]
        django.db.connections.settings.pop(self.alias, None)


class DjangoConnectionApp(DjangoApp):
    """A Django connection itself."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.target = self.wrapper


SYNC_APPS: dict[str, type[App]] = {
    "psycopg": PsycopgApp,
    "sqlalchemy-psycopg": SqlalchemyApp,
    "sqlalchemy-psycopg-session": SessionApp,
    "sqlalchemy-psycopg-scoped": ScopedSessionApp,
    "sqlalchemy-psycopg2": Psycopg2App,
    "sqlalchemy-psycopg2-session": Psycopg2SessionApp,
    "sqlalchemy-pg8000": Pg8000App,
    "sqlalchemy-pg8000-session": Pg8000SessionApp,
    "django-alias": DjangoApp,
    "django-connection": DjangoConnectionApp,
}
