"""Whether the queue can be used: what the health checks of web applications answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..broker import Broker
from ..brokers.postgres import PostgresBroker
from ..errors import PgQueueError, ReleaseOutdated, SchemaOutdated
from ..logging import own_logger
from ..storage import workers

__all__ = ["Health", "check_health"]

#: Seconds without a heartbeat after which a worker does not count: what it had runs elsewhere by then.
SILENT_S = 15.0

logger = own_logger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """What was found.

    Parameters:
      database: It can be reached and used.
      schema: Its tables are those that this release needs.
      workers: How many worker processes are alive; None where nobody can tell.
      enough_workers: There are as many as were asked for.
    """

    database: bool
    schema: bool
    workers: int | None
    enough_workers: bool = True

    @property
    def ok(self) -> bool:
        """Whether all is as it should be."""
        return self.database and self.schema and self.enough_workers

    @property
    def status_code(self) -> int:
        """The answer's in HTTP: 200 or 503."""
        return 200 if self.ok else 503

    def asdict(self) -> dict[str, Any]:
        """Return the answer's body; it names no host and no error, for anybody may ask."""
        return {
            "status": "ok" if self.ok else "unavailable",
            "database": self.database,
            "schema": self.schema,
            "workers": self.workers,
        }


def check_health(broker: Broker, *, least_workers: int = 0) -> Health:
    """See whether messages can be sent, and who would run them. Errors are logged, not raised.

    Blocks for up to ten seconds if the server doesn't answer; safe to call from any thread.

    Parameters:
      least_workers: With fewer worker processes alive it is not ok.
    """
    try:
        broker.check()
        alive = _alive(broker)
    except (SchemaOutdated, ReleaseOutdated) as error:
        logger.warning("The queue is not healthy: %s", error)
        return Health(database=True, schema=False, workers=None)
    except PgQueueError as error:
        logger.warning("The queue is not healthy: %s", error)
        return Health(database=False, schema=False, workers=None)
    return Health(
        database=True, schema=True, workers=alive, enough_workers=alive is None or alive >= least_workers
    )


def _alive(broker: Broker) -> int | None:
    if not isinstance(broker, PostgresBroker):
        return None
    with broker.database.connection() as conn:
        return workers.count_alive(conn, broker.database.statements, silent_s=SILENT_S)
