"""Sending within a transaction of the application's: the message is there when it commits, and never if it does not.

``with pgqueue.transaction(target):`` says so for a block; the *ambient providers* say so where a framework has one
obvious transaction, without a block:

- ``register_ambient(provider)`` adds a function that is called at each send outside of such blocks, with the broker,
  in the sender's context. It answers a target (whatever :func:`transaction` takes) or None; the one that was
  registered last is asked first, and the first answer counts.
- ``unregister_ambient(provider)`` takes it away.
- ``outside_transaction()`` makes a block in which neither counts: what is sent there is sent at once.

The order at each send: the innermost block; the settlement, in the after-hooks of a message; an ambient target; a
connection of the broker's own.

To teach it another kind of connection, write a :class:`Target` or :class:`AsyncTarget` and pass that.
"""

from .scope import outside_transaction, register_ambient, transaction, unregister_ambient
from .target import AsyncTarget, Target

__all__ = [
    "AsyncTarget",
    "Target",
    "outside_transaction",
    "register_ambient",
    "transaction",
    "unregister_ambient",
]
