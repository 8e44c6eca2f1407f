"""Moto's EC2 state, read and described in the lab's own words (`model.Network`, `HostSpec`)."""

from __future__ import annotations

import ipaddress
from collections.abc import Set
from typing import Any

from ec2_lab.door.amend import primary
from ec2_lab.door.rules import vpc_networks
from ec2_lab.model import (
    SERVICE_ADDRESSES,
    AclEntry,
    Direction,
    HostSpec,
    Interface,
    Network,
    NetworkAcl,
    Route,
    RouteTable,
    SecurityGroup,
    SecurityRule,
    Subnet,
    TargetKind,
    Volume,
)


def network(backend: Any, plugged: Set[str]) -> Network:
    """All networking as the API states it. Routes lead only to interfaces that are plugged in."""
    return Network(
        vpc_cidrs=tuple((v.id, tuple(str(c) for c in vpc_networks(v))) for v in backend.vpcs.values()),
        subnets=tuple(
            Subnet(s.id, s.vpc_id, s.cidr_block, _table_of(backend, s), _acl_of(backend, s))
            for zone in backend.subnets.values()
            for s in zone.values()
        ),
        tables=tuple(
            RouteTable(
                t.id, t.vpc_id, tuple(r for route in t.routes for r in _routes(backend, route, plugged))
            )
            for t in backend.route_tables.values()
        ),
        groups=tuple(
            SecurityGroup(g.id, g.vpc_id, tuple(_rules(backend, g)))
            for groups in backend.groups.values()
            for g in groups.values()
            if g.vpc_id
        ),
        acls=tuple(
            NetworkAcl(a.id, a.vpc_id, tuple(_entry(e) for e in a.entries if e.cidr_block))
            for a in backend.network_acls.values()
        ),
        interfaces=tuple(interface(eni) for eni in backend.enis.values()),
    )


def interface(eni: Any) -> Interface:
    return Interface(
        eni_id=eni.id,
        instance_id=eni.instance.id if eni.instance else "",
        vpc_id=eni.vpc_id,
        subnet_id=eni.subnet.id,
        mac=eni.mac_address,
        private_ips=tuple(a["PrivateIpAddress"] for a in eni.private_ip_addresses),
        public_ip=eni.public_ip or "",
        source_dest_check=str(eni.source_dest_check).lower() == "true",
        groups=tuple(g.id for g in eni.group_set),
    )


def host(backend: Any, instance: Any) -> HostSpec:
    eni = primary(instance)
    prefix_length, gateway = addressing(eni)
    key = backend.key_pairs.get(instance.key_name or "")
    return HostSpec(
        instance_id=instance.id,
        name=name_of(instance),
        az=instance.availability_zone,
        private_ip=eni.private_ip_address,
        prefix_length=prefix_length,
        gateway=gateway,
        mac=eni.mac_address,
        authorized_key=key.public_key.strip() if key else "",
        volumes=data_volumes(instance),
    )


def addressing(eni: Any) -> tuple[int, str]:
    """Prefix length and gateway of the interface's subnet."""
    cidr = ipaddress.IPv4Network(eni.subnet.cidr_block)
    return cidr.prefixlen, str(cidr.network_address + 1)


def data_volumes(instance: Any) -> tuple[Volume, ...]:
    """What is attached, without the root volume (the machine's own disk)."""
    return tuple(
        Volume(block.volume_id, int(block.size), device)
        for device, block in sorted(instance.block_device_mapping.items())
        if device != instance.root_device_name
    )


def name_of(instance: Any) -> str:
    tags = {tag["key"]: tag["value"] for tag in instance.get_tags()}
    return tags.get("Name") or str(instance.id)


def _table_of(backend: Any, subnet: Any) -> str:
    main = ""
    for table in backend.route_tables.values():
        if subnet.id in table._associations.values():
            return str(table.id)
        if table.vpc_id == subnet.vpc_id and table.main_association_id:
            main = table.id
    return main


def _acl_of(backend: Any, subnet: Any) -> str:
    return next(
        (a.id for a in backend.network_acls.values() for x in a.associations if x.subnet_id == subnet.id), ""
    )


def _entry(entry: Any) -> AclEntry:
    low, high = entry.port_range_from, entry.port_range_to
    return AclEntry(
        number=int(entry.rule_number),
        direction=Direction.EGRESS if str(entry.egress).lower() == "true" else Direction.INGRESS,
        allow=entry.rule_action == "allow",
        protocol={"-1": "all", "6": "tcp", "17": "udp", "1": "icmp"}.get(str(entry.protocol), "all"),
        cidr=entry.cidr_block,
        from_port=int(low) if low not in (None, "") else 0,
        to_port=int(high) if high not in (None, "") else 65535,
    )


def _routes(backend: Any, route: Any, plugged: Set[str]) -> list[Route]:
    if route.destination_prefix_list:
        service = route.destination_prefix_list.prefix_list_name.rpartition(".")[2]
        if service in SERVICE_ADDRESSES:
            return [Route(f"{SERVICE_ADDRESSES[service]}/32", TargetKind.SERVICE, service)]
        return []
    destination = route.destination_cidr_block
    if not destination:
        return []  # IPv6 is not simulated
    if route.local:
        return [Route(destination, TargetKind.LOCAL)]
    eni_id = route.network_interface_id
    if eni_id and eni_id in plugged and eni_id in backend.enis:
        return [Route(destination, TargetKind.INTERFACE, eni_id)]
    if not eni_id and (route.gateway_id or "").startswith("igw-") and route.state == "active":
        return [Route(destination, TargetKind.INTERNET, route.gateway_id)]
    return [Route(destination, TargetKind.BLACKHOLE)]


def _rules(backend: Any, group: Any) -> list[SecurityRule]:
    sides = ((Direction.INGRESS, group.ingress_rules), (Direction.EGRESS, group.egress_rules))
    return [_rule(backend, direction, rule) for direction, rules in sides for rule in rules if _is_v4(rule)]


def _is_v4(rule: Any) -> bool:
    return bool(rule.cidr_ipv4 or rule.source_group or rule.prefix_list_id)


def _rule(backend: Any, direction: Direction, rule: Any) -> SecurityRule:
    protocol = {"-1": "all", None: "all"}.get(rule.ip_protocol, rule.ip_protocol)
    cidrs = [rule.cidr_ipv4] if rule.cidr_ipv4 else []
    if rule.prefix_list_id:
        listed = backend.managed_prefix_lists.get(rule.prefix_list_id)
        entries = (listed.entries.get(listed.version) or []) if listed else []
        cidrs += [entry["Cidr"] for entry in entries]
    group_id = (rule.source_group or {}).get("GroupId")
    low = rule.from_port if rule.from_port not in (None, -1) else 0
    high = rule.to_port if rule.to_port not in (None, -1) else 65535
    return SecurityRule(
        direction=direction,
        protocol=protocol,
        from_port=low,
        to_port=high,
        cidrs=tuple(cidrs),
        group_ids=(group_id,) if group_id else (),
    )
