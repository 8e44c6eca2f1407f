"""What a node cannot reach itself goes through peers that can; they gain nothing by it (P4, R1)."""

from __future__ import annotations

import pytest
from tests.support.safety import overlapping_gates
from tests.support.world import World

from failover_agent.core.model import Holder, Landed, LeaseItem, ServerState, Unknown, Version
from failover_agent.core.relay import RouteChange, why_not_carry, why_not_point
from failover_agent.errors import PeerRefused, RenewedThroughPeer

VIP = "172.16.52.1"
ITEM = LeaseItem("c", "s1", Holder("db1", "i-1", "n"), 4, "t2", 6.0, 1, 0)
CHANGE = RouteChange("rtb-a", VIP, "eni-db1", 4, within_s=3.0)


def cluster(*, failsafe: bool = False) -> World:
    world = World("db1", "db2", "db3", failsafe=failsafe, relay=True)
    assert world.bring_up() == "db1"
    world.run(8)
    return world


def writes_of(world: World, name: str) -> list[LeaseItem]:
    return [item for item in world.nodes[name].store.writes if item.holder and item.holder.name == "db1"]


# Rules


def test_only_a_holders_own_write_is_carried() -> None:
    assert why_not_carry("db1", ITEM, Version(4, "t1")) == ""
    assert why_not_carry("db2", ITEM, Version(4, "t1")) != ""
    assert why_not_carry("db1", ITEM.but(holder=None, released_by="db1"), Version(4, "t1")) == ""
    assert why_not_carry("db2", ITEM.but(holder=None, released_by="db1"), Version(4, "t1")) != ""


def test_no_claim_is_carried() -> None:
    assert "claims are carried by nobody" in why_not_carry("db1", ITEM, Version(3, "t1"))


@pytest.mark.parametrize(
    ("waited_s", "item", "stays"),
    [
        (0.1, None, False),  # the store is away here, too
        (0.1, ITEM, False),
        (3.0, ITEM, True),
        (0.1, ITEM.but(epoch=5, holder=Holder("db2", "i-2", "n")), True),
        (0.1, ITEM.but(holder=None), True),
        (0.1, ITEM.but(holder=Holder("db2", "i-2", "n")), True),
    ],
)
def test_a_route_is_changed_only_in_time_and_for_who_holds_the_lease(
    waited_s: float, item: LeaseItem | None, stays: bool
) -> None:
    assert bool(why_not_point("db1", CHANGE, waited_s, item)) is stays


# The store


def test_a_holder_cut_from_the_store_is_renewed_through_a_peer() -> None:
    world = cluster()
    world.no_api.add("db1")
    world.run(120)

    assert world.primary() == "db1"
    assert world.lease().epoch == 1
    assert not any(event == "lease-lost" for _, _, event, _ in world.events)
    assert [v["peer"] for _, _, event, v in world.events if event == "renewed-through"] == ["db2"]
    told = [e for e in world.nodes["db1"].agent.problems() if isinstance(e, RenewedThroughPeer)]
    assert [e.value for e in told] == ["no answer; the lease is renewed through db2"]
    assert world.nodes["db1"].agent.cluster()["lease"]["renewed_through"] == "db2"  # type: ignore[index]

    world.no_api.clear()
    world.run(3)
    assert world.nodes["db1"].agent.cluster()["lease"]["renewed_through"] == ""  # type: ignore[index]
    assert not any(isinstance(e, RenewedThroughPeer) for e in world.nodes["db1"].agent.problems())


def test_without_relay_the_same_holder_is_replaced() -> None:
    world = World("db1", "db2", "db3")
    world.bring_up()
    world.run(8)
    world.no_api.add("db1")
    world.run(30)

    assert world.primary() != "db1"
    assert overlapping_gates(world) == []


def test_a_peer_that_does_not_read_the_store_is_not_asked() -> None:
    world = cluster()
    world.no_api.update(["db1", "db2"])
    world.run(60)

    assert world.primary() == "db1"
    assert writes_of(world, "db2") == []
    assert writes_of(world, "db3") != []


def test_what_is_carried_is_the_askers_own_write_unchanged() -> None:
    world = cluster()
    world.no_api.add("db1")
    desk = world.nodes["db1"].agent.keeper._desk
    world.run(5)

    assert desk.mine is not None
    assert desk.mine.item in writes_of(world, "db2")


def test_a_peer_that_carried_holds_nothing_and_writes_nothing() -> None:
    world = cluster()
    world.no_api.add("db1")
    world.run(20)

    db2 = world.nodes["db2"].agent
    assert db2.keeper.mine() is None
    assert world.postgres("db2").state is ServerState.STANDBY


def test_a_refusal_through_a_peer_ends_the_lease_at_once() -> None:
    world = cluster(failsafe=True)
    world.no_api.add("db1")
    world.run(10)
    item = world.lease()
    stranger = item.but(epoch=item.epoch + 1, token="stranger", holder=Holder("db9", "i-9", "n"))
    world.store.write(stranger, only_if=Version(item.epoch, item.token))
    world.run(1.1)

    assert world.nodes["db1"].agent.keeper.mine() is None
    assert not world.nodes["db1"].gate.is_open()


def test_with_the_store_away_for_all_promises_take_over_from_the_relay_and_give_back() -> None:
    world = cluster(failsafe=True)
    world.no_api.add("db1")
    world.run(20)
    world.store.silence("away")
    world.run(60)
    assert world.primary() == "db1"
    world.store.answer()
    world.run(20)

    assert world.primary() == "db1"
    assert world.lease().epoch == 1


def test_a_node_asks_only_in_its_own_name() -> None:
    world = cluster()
    item = world.lease()
    again = item.but(token="another")

    with pytest.raises(PeerRefused):
        world.nodes["db2"].agent.relay_write("db3", again, Version(item.epoch, item.token))
    assert world.nodes["db2"].agent.relay_write("db1", again, Version(item.epoch, item.token)) == Landed()


# Routes


def test_a_new_holder_cut_from_ec2_moves_its_route_through_a_peer() -> None:
    world = cluster()
    world.no_ec2.update(["db1", "db2"])
    world.run(11)  # every node has looked since
    world.tables.update(dict.fromkeys(world.tables, "eni-db9"))

    world.run_until(lambda: set(world.tables.values()) == {"eni-db1"}, limit_s=10)

    assert {v["peer"] for _, _, event, v in world.events if event == "routed-through"} == {"db3"}


def test_a_peer_changes_no_route_for_who_lost_the_lease() -> None:
    world = cluster()
    db2 = world.nodes["db2"].agent

    with pytest.raises(PeerRefused):
        db2.relay_point("db3", RouteChange("rtb-a", VIP, "eni-db3", world.lease().epoch, 3.0))
    with pytest.raises(PeerRefused):
        db2.relay_point("db1", RouteChange("rtb-a", "10.9.9.9", "eni-db1", world.lease().epoch, 3.0))
    assert set(world.tables.values()) == {"eni-db1"}


def test_a_node_without_the_lease_asks_no_peer_for_routes() -> None:
    world = cluster()
    routes = world.nodes["db2"].agent.body.ports.routes
    world.no_ec2.add("db2")

    assert isinstance(routes.targets(VIP), Unknown)
    assert isinstance(routes.point("rtb-a", VIP, "eni-db2"), Unknown)
    assert set(world.tables.values()) == {"eni-db1"}
