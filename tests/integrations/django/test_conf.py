"""The setting PGQUEUE, and the broker that comes of it."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import override_settings
from psycopg.conninfo import conninfo_to_dict

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.integrations.django.broker import DjangoConnections, conninfo_of_alias, make_broker
from pgqueue.integrations.django.conf import read
from pgqueue.middleware import AgeLimit, GroupCallbacks, Retries
from pgqueue.results import Results


class TestSetting:
    @override_settings()
    def test_nothing_need_be_said(self) -> None:
        assert read().database == "default"
        assert read().join_atomic

    @override_settings(PGQUEUE={"schema": "jobs", "DATABASE": "other"})
    def test_keys_are_understood_in_small_letters_too(self) -> None:
        assert (read().schema, read().database) == ("jobs", "other")

    @pytest.mark.parametrize(
        ("given", "complaint"),
        [
            ({"SHEMA": "jobs"}, r"knows no 'SHEMA'. Did you mean 'SCHEMA'\?"),
            ({"COLOUR": "red"}, r"knows no 'COLOUR'. It may have AUTODISCOVER, DATABASE"),
            (
                {"DATABASE": "nowhere"},
                r"in the database 'nowhere', but DATABASES has only 'default', 'other'",
            ),
            ({"DATABASE": "default", "URL": "postgresql://localhost/app"}, "both a DATABASE and a URL"),
            (["default"], "must be a dictionary"),
        ],
    )
    def test_a_mistake_is_named(self, given: object, complaint: str) -> None:
        with override_settings(PGQUEUE=given), pytest.raises(ImproperlyConfigured, match=complaint):
            read()


class TestBroker:
    def test_it_is_the_processes(self, django_broker: PostgresBroker, database_url: str) -> None:
        assert pgqueue.get_broker() is django_broker
        expected = conninfo_to_dict(database_url)
        found = conninfo_to_dict(django_broker.database.url)
        assert (found["dbname"], found["host"], found["port"]) == (
            expected["dbname"],
            expected["host"],
            str(expected["port"]),
        )

    def test_actors_of_installed_apps_are_found(self, django_broker: PostgresBroker) -> None:
        assert {"ship", "double", "thank"} <= django_broker.get_declared_actors()

    def test_it_has_results_callbacks_and_the_default_middleware(self) -> None:
        kinds = [type(one) for one in make_broker().middleware]
        assert {Results, GroupCallbacks, DjangoConnections, Retries} <= set(kinds)
        assert len(kinds) == len(set(kinds))

    def test_middleware_is_named_by_path_or_given(self) -> None:
        own = Retries(max_retries=1)
        with override_settings(PGQUEUE={"MIDDLEWARE": ["pgqueue.middleware.AgeLimit", own]}):
            middleware = make_broker().middleware
        assert isinstance(middleware[0], AgeLimit)
        assert middleware[1] is own
        assert not any(isinstance(one, Results) and one.store_results for one in middleware)

    @override_settings(PGQUEUE={"RESULTS": {"store_results": True, "result_ttl": 1_000}})
    def test_results_take_options(self) -> None:
        (results,) = (one for one in make_broker().middleware if isinstance(one, Results))
        assert (results.store_results, results.result_ttl) == (True, 1_000)

    @override_settings(PGQUEUE={"MIDDLEWARE": ["pgqueue.actor"]})
    def test_something_else_is_not_taken_for_middleware(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"'pgqueue\.actor', which is not a middleware"):
            make_broker()

    @override_settings(PGQUEUE={"URL": "postgresql://somewhere/app", "OPTIONS": {"max_connections": 3}})
    def test_a_url_goes_before_databases(self) -> None:
        assert make_broker().database.url == "postgresql://somewhere/app"


class TestAlias:
    def test_what_only_django_knows_is_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        options = {"isolation_level": 2, "server_side_binding": True, "sslmode": "prefer"}
        monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", options)
        assert conninfo_to_dict(conninfo_of_alias("default"))["sslmode"] == "prefer"

    def test_a_role_that_django_takes_is_ours_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", {"assume_role": "a worker"})
        assert conninfo_to_dict(conninfo_of_alias("default"))["options"] == r"-c role=a\ worker"

    def test_another_database_than_postgresql_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(connections["default"]), "vendor", "sqlite")
        monkeypatch.setattr(type(connections["default"]), "display_name", "SQLite")
        with pytest.raises(
            ImproperlyConfigured, match="needs a PostgreSQL, but the database 'default' is SQLite"
        ):
            conninfo_of_alias("default")
