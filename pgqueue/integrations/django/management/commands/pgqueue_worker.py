"""``manage.py pgqueue_worker …``: run workers, with all arguments of ``pgqueue worker`` but the broker."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ...._program import become_worker, show_help

__all__ = ["Command"]

#: What workers load: it sets Django up, which finds the actors.
BROKER = "pgqueue.integrations.django:setup"

#: Options that Django's own command line has dealt with: they say what is in the environment by now.
DJANGO_OPTIONS = ("--settings", "--pythonpath")


class Command(BaseCommand):
    """Runs workers in the place of this process, so that signals, reloading and process ids are as with ``pgqueue``."""

    help = "Run pgqueue's workers, with the arguments of `pgqueue worker`: -p 2 -t 8 -Q mail --watch ."
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Take the words as they are: they are none of Django's business."""
        become_worker(BROKER, _without_django_options(argv[2:]))

    def print_help(self, prog_name: str, subcommand: str) -> None:
        """Show the arguments of ``pgqueue worker``."""
        show_help(BROKER)

    def handle(self, *args: Any, **options: Any) -> None:
        """Refuse to take the place of a program that has called this command."""
        raise CommandError("pgqueue_worker becomes the worker program: run it as `manage.py pgqueue_worker`.")


def _without_django_options(words: list[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in DJANGO_OPTIONS:
            skip = True
        elif not word.startswith(tuple(f"{option}=" for option in DJANGO_OPTIONS)):
            kept.append(word)
    return kept
