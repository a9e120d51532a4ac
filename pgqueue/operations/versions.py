"""Whether the server's version and the schema's revision are such as this release works with."""

from ..errors import ReleaseOutdated, SchemaOutdated
from ..storage import health
from ..storage.database import REQUIRED_REVISION
from ..storage.revision import check_revision
from .found import Check

#: The oldest server that is supported, as server_version_num.
OLDEST_VERSION = 150_000


def version(server: health.Server) -> Check:
    """Judge the server's."""
    if server.version < OLDEST_VERSION:
        return Check(
            "version", "failure", f"PostgreSQL {server.version_text}", "upgrade to PostgreSQL 15 or newer"
        )
    return Check("version", "ok", f"PostgreSQL {server.version_text}")


def revision(found: str | None, name: str) -> Check:
    """Judge the schema's; None: it has none."""
    if found is None:
        return Check("schema", "failure", f"there is no schema {name!r} of ours", "pgqueue migrate")
    try:
        check_revision(found)
    except SchemaOutdated:
        return Check(
            "schema", "failure", f"{found}; this release needs {REQUIRED_REVISION}", "pgqueue migrate"
        )
    except ReleaseOutdated:
        return Check(
            "schema", "failure", f"{found}; this release knows {REQUIRED_REVISION}", "a newer pgqueue-engine"
        )
    newer = "" if found == REQUIRED_REVISION else f", newer than this release's {REQUIRED_REVISION}"
    return Check("schema", "ok", f"{found}{newer}")
