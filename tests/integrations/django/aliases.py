"""How Django is told of a database by its URL."""

from psycopg.conninfo import conninfo_to_dict


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
