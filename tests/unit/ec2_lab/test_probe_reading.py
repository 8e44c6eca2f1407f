"""Where the second reader expects a packet, from facts that differ in one thing at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.ec2_lab.door_lab import Lab

from ec2_lab.probe.reading import INTERNET, Facts, Host, Rule, path, read

ANY = Rule(0, 65535, ("0.0.0.0/0",), ())
DB1 = Host("db1", "i-1", "eni-1", "a", ("10.0.11.4",), "", False, ("sg-db",))
APP = Host("app", "i-2", "eni-2", "a", ("10.0.11.5",), "", True, ("sg-app",))
NAT = Host("nat", "i-3", "eni-3", "pub", ("10.0.1.4",), "198.51.100.7", False, ("sg-nat",))
VIP, FAR = "172.16.52.1", "203.0.113.10"
LOCAL = ("10.0.0.0/16", "local")
FACTS = Facts(
    hosts=(DB1, APP, NAT),
    routes={
        "a": (LOCAL, ("0.0.0.0/0", "eni-3"), (f"{VIP}/32", "eni-1")),
        "pub": (LOCAL, ("0.0.0.0/0", INTERNET)),
    },
    ingress={
        "sg-db": (Rule(5432, 5433, (), ("sg-app",)),),
        "sg-nat": (Rule(0, 65535, ("10.0.0.0/16",), ()),),
    },
    egress={"sg-db": (ANY,), "sg-app": (ANY,), "sg-nat": (ANY,)},
)


def sent(
    facts: Facts = FACTS, source: Host = APP, to: str = DB1.addresses[0], port: int = 5432
) -> tuple[str, ...]:
    return path(facts, source, source.addresses[0], to, port)


def but(host: Host) -> Facts:
    """The same facts, one host differing."""
    return replace(FACTS, hosts=tuple(host if h.eni_id == host.eni_id else h for h in FACTS.hosts))


@pytest.mark.parametrize(
    ("port", "arrives"), [(5431, ()), (5432, ("eni-1",)), (5433, ("eni-1",)), (5434, ())]
)
def test_a_rule_lets_in_its_ports_and_no_other(port: int, arrives: tuple[str, ...]) -> None:
    assert sent(port=port) == arrives


def test_a_rule_by_group_lets_in_members_only() -> None:
    outsider = replace(APP, groups=("sg-nat",))
    assert sent(but(outsider), source=outsider) == ()


def test_a_sender_must_be_let_out() -> None:
    assert sent(replace(FACTS, egress={**FACTS.egress, "sg-app": ()})) == ()


def test_a_longer_prefix_wins_and_the_receivers_check_matters() -> None:
    assert sent(to=VIP) == ("eni-1",)
    assert sent(but(replace(DB1, check=True)), to=VIP) == ()
    assert sent(but(replace(DB1, check=True))) == ("eni-1",)


def test_a_foreign_address_leaves_only_an_unchecked_interface() -> None:
    assert path(FACTS, DB1, "10.0.99.99", NAT.addresses[0], 80) == ("eni-3",)
    assert path(FACTS, replace(DB1, check=True), "10.0.99.99", NAT.addresses[0], 80) == ()


def test_what_goes_through_a_nat_instance_leaves_under_its_public_address() -> None:
    assert sent(to=FAR) == ("eni-3", INTERNET)
    assert sent(but(replace(NAT, public_ip="")), to=FAR) == ("eni-3",)
    assert sent(but(replace(NAT, check=True)), to=FAR) == ()


def test_the_internet_is_reached_with_a_public_address_only() -> None:
    assert sent(source=NAT, to=FAR) == (INTERNET,)
    assert sent(source=replace(NAT, public_ip=""), to=FAR) == ()


def test_an_endpoint_needs_no_public_address_and_a_blackhole_ends_everything() -> None:
    def by(target: str) -> Facts:
        return replace(FACTS, routes={**FACTS.routes, "a": (LOCAL, (f"{FAR}/32", target))})

    assert sent(by("service"), to=FAR) == (INTERNET,)
    assert sent(by(""), to=FAR) == ()


def test_the_api_is_read_as_it_speaks(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    (one, first), (two, second) = lab.run("db1"), lab.run("db2")
    for instance_id in (one, two):
        lab.until_state(instance_id, "running")
    group = ec2.create_security_group(GroupName="db", Description="db", VpcId=lab.vpc)["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [{"GroupId": group}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    for instance_id in (one, two):
        ec2.modify_instance_attribute(InstanceId=instance_id, Groups=[group])
    ec2.modify_instance_attribute(InstanceId=two, SourceDestCheck={"Value": False})
    ec2.create_route(RouteTableId=lab.table, DestinationCidrBlock=f"{VIP}/32", NetworkInterfaceId=second)

    facts = read(ec2)
    sender = facts.host(first)

    assert sender is not None
    assert (sender.name, sender.check, facts.overlays(), facts.ports()) == ("db1", True, {VIP}, {5432})
    assert path(facts, sender, sender.addresses[0], VIP, 5432) == (second,)
    assert path(facts, sender, sender.addresses[0], VIP, 5433) == ()
    ec2.stop_instances(InstanceIds=[two])
    lab.until_state(two, "stopped")
    assert path(read(ec2), sender, sender.addresses[0], VIP, 5432) == ()
