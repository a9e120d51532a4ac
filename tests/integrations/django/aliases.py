"""How Django is told of a database by its URL, and of our backend for its tasks."""

from psycopg.conninfo import conninfo_to_dict

BACKEND = "pgqueue.integrations.django.task_backend.TaskBackend"


def database(url: str) -> dict[str, object]:
    """An entry of ``DATABASES``."""
    found = conninfo_to_dict(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": found.get("dbname", ""),
        "USER": found.get("user", ""),
        "PASSWORD": found.get("password", ""),
        "HOST": found.get("host", ""),
        "PORT": found.get("port", ""),
    }
