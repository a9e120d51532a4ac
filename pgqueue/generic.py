"""Actors written as classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from .actor import Actor, actor

__all__ = ["GenericActor", "generic_actor"]


class generic_actor(type):  # noqa: N801  # Dramatiq's name
    """The metaclass that turns the definition of a class into an actor.

    The name of a concrete class ends up bound to its one instance, that of an abstract one to the class.
    """

    def __new__(metacls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        """Make the class, and unless it is abstract, its instance and its actor."""
        cls = super().__new__(metacls, name, bases, namespace)
        if _is_abstract(namespace):
            return cls
        instance = cls()
        options = _options(cls)
        declare = options.pop("actor", actor)
        instance.__actor__ = declare(_function(instance, name), **options)
        return instance

    if TYPE_CHECKING:
        # The name of a concrete class is bound to an instance, which type checkers can't know.  So for them
        # the class has whatever the actor has; and calling it returns anything, see GenericActor.__new__.
        def __getattr__(cls, name: str) -> Any: ...


def _is_abstract(namespace: dict[str, Any]) -> bool:
    # Asked of the class's own Meta, and there of its own attributes: what derives from an abstract class is
    # concrete again, also when its Meta derives from that class's Meta.
    return bool(vars(namespace.get("Meta", object)).get("abstract", False))


def _function(instance: GenericActor, name: str) -> Callable[..., Any]:
    """What the actor runs: ``perform``, as a function of the class's name, which so is the actor's."""
    perform = instance.perform

    def function(*args: Any, **kwargs: Any) -> Any:
        return instance.perform(*args, **kwargs)

    async def async_function(*args: Any, **kwargs: Any) -> Any:
        return await instance.perform(*args, **kwargs)

    made = wraps(perform)(async_function if iscoroutinefunction(perform) else function)
    made.__name__ = made.__qualname__ = name
    return made


def _options(cls: type) -> dict[str, Any]:
    meta = getattr(cls, "Meta", object)
    names = (name for name in dir(meta) if not name.startswith("_") and name != "abstract")
    return {name: getattr(meta, name) for name in names}


class GenericActor(metaclass=generic_actor):
    """The base of class-based actors.

    A subclass defines ``perform``, and options of the actor in a class ``Meta``::

        class Add(GenericActor):
            class Meta:
                queue_name = "sums"

            def perform(self, x, y):
                return x + y

        Add.send(1, 2)

    ``Meta`` is inherited; with ``abstract = True`` the class is a base for others and no actor itself.  ``actor``
    in it is called in place of :func:`pgqueue.actor` to make the actor.  The instance has all attributes of
    its actor; it is not an Actor itself.
    """

    __actor__: Actor[..., Any]

    if TYPE_CHECKING:
        # A subclass's Meta need not derive from this one.
        Meta: Any

        def __new__(cls, *args: Any, **kwargs: Any) -> Any: ...  # noqa: D102

    else:

        class Meta:
            """Options of the actor."""

            abstract = True

        def __getattr__(self, name: str) -> Any:
            """Return an attribute of the actor."""
            # Special methods are asked for by copy and pickle, before there is an actor.
            if name.startswith("__"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return getattr(self.__actor__, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the actor here and now."""
        return self.__actor__(*args, **kwargs)

    def perform(self, *args: Any, **kwargs: Any) -> Any:
        """Do the actor's work; what is passed and returned is the subclass's choice."""
        raise NotImplementedError(f"{type(self).__name__} does not implement perform()")
