"""How `failoverctl` speaks: to people in words, to programs in one document; and how it asks for a yes."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import click

from failover_agent.errors import AgentError

P = ParamSpec("P")
R = TypeVar("R")


as_json_too = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="For programs: one document on standard output. With exit status 1 it is the error, by its fields.",
)


class NotConfirmed(AgentError):
    """A person did not say yes."""


class LossNotAccepted(NotConfirmed):
    """Nobody said that what a failover loses may be lost; `answer` is what the node would lose."""

    answer: Mapping[str, Any] = {}


def speaks_of_errors(command: Callable[P, R]) -> Callable[P, R]:
    """What we foresaw goes to standard error with its hint, and the exit status is 1.

    With --json its fields go to standard output as well: there is one document there, whatever comes of it.
    """

    @functools.wraps(command)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except AgentError as error:
            click.echo(str(error), err=True)
            if kwargs.get("as_json"):
                more = error.answer if isinstance(error, LossNotAccepted) else {}
                print_json({**more, **error.fields()})
            sys.exit(1)

    return told


def print_json(document: Mapping[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2))


def confirm(question: str, about: str) -> None:
    """Raises NotConfirmed where the answer is no, and where there is nobody to answer."""
    if not sys.stdin.isatty():
        raise NotConfirmed.about(
            about, value="nobody can be asked here", expected="a yes", hint="Say --yes. Nothing was changed."
        )
    try:
        yes = click.confirm(question, err=True)
    except click.Abort:  # an end of the input, or Ctrl-C: no yes either
        yes = False
    if not yes:
        raise NotConfirmed.about(about, value="not confirmed", expected="a yes", hint="Nothing was changed.")
