"""The pages and the actions by their paths. A page is a function of a visit; a new one needs a line here."""

from ..endpoint import Page
from . import actions, actors, all_that_match, dead, health, message, messages, overview, queues, workers

__all__ = ["ACTIONS", "PAGES"]

PAGES: dict[str, Page] = {
    "/": overview.page,
    "/queues": queues.page,
    "/messages": messages.page,
    "/messages/all": all_that_match.messages,
    "/message": message.page,
    "/dead": dead.page,
    "/dead/all": all_that_match.letters,
    "/workers": workers.page,
    "/actors": actors.page,
    "/health": health.page,
}

ACTIONS: dict[str, Page] = {
    "/queues": queues.steer,
    "/workers": workers.steer,
    "/messages": actions.act,
    "/messages/all": all_that_match.act_on_messages,
    "/dead/all": all_that_match.act_on_letters,
}
