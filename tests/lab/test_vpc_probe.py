"""How the probe listens, shown by packets."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

import pytest

from ec2_lab.probe import packets
from ec2_lab.probe.packets import Question
from ec2_lab.probe.reading import Host

from .vpc_world import ADDRESSES, ANSWER_S, PORT, World, eni

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

APP1 = Host("app1", "i-1", eni("app1"), "subnet-a", (ADDRESSES["app1"],), "", True, ("sg-app",))


@pytest.fixture
def world() -> Iterator[World]:
    made = World(f"probetest{os.getpid()}")
    yield made
    made.close()


def test_what_arrived_while_the_prober_stood_still_is_heard(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Method: the time to listen is over when the listening begins; the packet lies there already."""
    monkeypatch.setattr(packets, "LISTEN_S", 0.0)
    question = Question(APP1, ADDRESSES["app1"], ADDRESSES["db1"], PORT)
    with (
        world["db1"].do(lambda: packets._ear("eth0")) as ear,
        world["app1"].do(lambda: packets._send(question, packets.FIRST_PORT)),
    ):
        assert select.select([ear], [], [], ANSWER_S)[0]

        assert ("db1", 0) in packets._hear({ear: "db1"}, 1)
