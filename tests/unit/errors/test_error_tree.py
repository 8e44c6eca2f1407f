"""Every foreseen error carries what a program needs to act on it, wherever it travels."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from failover_agent import errors
from failover_agent.core.model import Unknown
from failover_agent.errors import AgentError, SourceDestCheckOn, VipInsideVpc, from_fields

CHECK_ON = SourceDestCheckOn.about("check of eni-1", value="on", expected="off", hint="Switch it off.")


def tree(cls: type[AgentError] = AgentError) -> Iterator[type[AgentError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from tree(child)


OURS = [cls for cls in tree() if cls.__module__ == errors.__name__]


def test_the_message_names_object_and_both_values_and_the_text_the_remedy() -> None:
    assert CHECK_ON.args[0] == "check of eni-1: on; expected off"
    assert str(CHECK_ON).endswith("HINT: Switch it off.")


@pytest.mark.parametrize("cls", OURS)
def test_an_error_comes_back_from_its_fields_as_it_was(cls: type[AgentError]) -> None:
    error = cls.about("o", value="v", expected="e", hint="h")

    for again in (from_fields(error.fields()), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301  # ours
        assert type(again) is cls
        assert again.fields() == error.fields()


def test_an_error_of_another_version_keeps_its_fields() -> None:
    fields = CHECK_ON.fields() | {"error": "OfTheFuture"}

    again = from_fields(fields)

    assert type(again) is AgentError
    assert (again.object, again.value, again.expected) == ("check of eni-1", "on", "off")


def test_an_unknown_is_the_same_with_or_without_its_cause_and_can_be_copied() -> None:
    plain, known = Unknown("silent"), Unknown("silent", cause=CHECK_ON)

    assert plain == known
    assert isinstance(asdict(known)["cause"], SourceDestCheckOn)


@pytest.mark.parametrize("cls", OURS)
def test_every_class_says_what_it_stands_for(cls: type[AgentError]) -> None:
    assert cls.__doc__


def test_a_caller_can_act_on_a_kind_as_well_as_on_a_single_fault() -> None:
    assert issubclass(VipInsideVpc, errors.RouteDidNotMove)
    assert issubclass(errors.HalfClonedDirectory, errors.DataDirectoryRefused)
    assert issubclass(errors.PasswordRefused, errors.PostgresFailed)
    assert issubclass(errors.TimingsImpossible, errors.ConfigRefused)
    assert issubclass(errors.ClusterNameTaken, errors.LeaseMoved)
