"""Actions on one message or on a selection."""

from __future__ import annotations

from ...operations import answering
from ..endpoint import BadRequest, Done, Visit, back_to

#: The most messages of a selection.
MOST = 500

#: How long a cancelled message of a selection is waited for, in seconds; a single one is for two.
SELECTION_WAIT_S = 0.0

_DID = {"retry": "will run now", "cancel": "cancelled", "delete": "deleted", "requeue": "requeued"}


def act(visit: Visit) -> Done:
    """Do something to the chosen messages; say of each what came of it where it is not what was wanted."""
    action = visit.field("action")
    if action not in answering.ACTS:
        raise BadRequest(f"There is no action {action!r}: expected {', '.join(answering.ACTS)}.")
    ids = list(dict.fromkeys(id_ for id_ in visit.form.get("id", []) if id_ and "\0" not in id_))
    if not ids:
        return Done(["No message was chosen."], back_to(visit, "/messages"))
    if len(ids) > MOST:
        raise BadRequest(
            f"{len(ids):,} messages are too many at once: choose {MOST} at most, or act on all that match."
        )
    results = [_one(visit, action, id_, alone=len(ids) == 1) for id_ in ids]
    return Done(_said(action, results), back_to(visit, "/messages"), {"results": results})


def _one(visit: Visit, action: str, message_id: str, *, alone: bool) -> dict[str, object]:
    if action == "cancel" and not alone:
        said, well = answering.cancel(visit.site.database, message_id, wait_s=SELECTION_WAIT_S)
    else:
        said, well = answering.ACTS[action](visit.site.database, message_id)
    return {"message_id": message_id, "result": said, "ok": well}


def _said(action: str, results: list[dict[str, object]]) -> list[str]:
    if len(results) == 1:
        return [f"{results[0]['message_id']}: {results[0]['result']}."]
    well = [result for result in results if result["ok"]]
    said = [f"{len(well):,} of {len(results):,} messages: {_DID[action]}."]
    return said + [f"{result['message_id']}: {result['result']}." for result in results if not result["ok"]]
