"""The VPC's router, kept equal to what the API says.

    host netns          router netns (ec2-LAB-vpc)             internet netns (ec2-LAB-net)
    eth0 ───── eni-… ── routed, one link per interface ── igw ───── igw   1:1 NAT, public addresses
                                                       └─ svc ───── svc   gateway endpoints, no NAT
                        lo: 169.254.169.254, subnet gateways       lo: the API's addresses

There is no bridge: AWS has no layer 2 either, so also neighbours in one subnet meet the router, their
security groups and the source/destination check. The router answers ARP for everybody (proxy_arp).

Simulated:
- [documented] neighbours in one subnet meet their security groups, too: there is no layer 2 <EC2 user
  guide: security groups>
- [assumed] the VPC's router drops silently, without an ICMP error but `packet too big`
- [documented] an address whose machine is off answers nothing <VPC user guide: VPC networking>
- [assumed] no latency, loss or bandwidth limit between hosts, whatever their AZ
"""

from __future__ import annotations

import re
import socket
import threading

from ec2_lab.errors import LabError
from ec2_lab.model import METADATA_ADDRESS, Interface, LabPaths, Network
from ec2_lab.ports import Place
from ec2_lab.vpc import namespace, routing, rules
from ec2_lab.vpc.names import IGW, IGW_FAR, IGW_ROUTER, SVC, SVC_FAR, SVC_ROUTER, VOID, link

ROUTER_SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.conf.default.proxy_arp": "1",
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv6.conf.default.disable_ipv6": "1",
    # A flow whose route has moved meets a host that never saw it; its answers must still get back.
    "net.netfilter.nf_conntrack_tcp_be_liberal": "1",
    "net.netfilter.nf_conntrack_tcp_ignore_invalid_rst": "1",
}
INTERNET_SYSCTLS = {"net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.default.rp_filter": "0"}


class Vpc:
    """Implements `ports.Wires`. Starts from nothing: what an earlier lab of this name left is removed."""

    def __init__(self, paths: LabPaths) -> None:
        sweep(paths)
        self._paths = paths
        self._lock = threading.RLock()
        self._network = Network()
        self._plugged: dict[str, str] = {}  # ENI id → namespace of its host
        self._faults = rules.Faults()
        self._numbers = routing.Numbers()
        self._planned: routing.Plan | None = routing.EMPTY  # None: nobody knows
        self._judged: object = None  # what the security groups in the kernel were made from
        self._services: frozenset[str] = frozenset()
        self._internet = namespace.Room(paths.internet_netns)
        self._router = namespace.Room(paths.router_netns)
        self._lay_trunks()
        self.apply(Network())

    def _lay_trunks(self) -> None:
        self._router.sysctl(ROUTER_SYSCTLS)
        self._internet.sysctl(INTERNET_SYSCTLS)
        lines = [f"link add {VOID} type veth peer name {VOID}-end", f"link set {VOID} up"]
        lines += [f"address add {METADATA_ADDRESS}/32 dev lo"]
        for name, address in ((IGW, IGW_ROUTER), (SVC, SVC_ROUTER)):
            lines.append(f"link add {name} type veth peer name {name} netns {self._internet.name}")
            lines += [f"address add {address}/31 dev {name}", f"link set {name} up"]
        self._router.ip(lines)
        far = [f"address add {a}/32 dev lo" for a in rules.API_ADDRESSES]
        for name, address in ((IGW, IGW_FAR), (SVC, SVC_FAR)):
            far += [f"address add {address}/31 dev {name}", f"link set {name} up"]
        self._internet.ip([*far, f"route add default via {IGW_ROUTER} dev {IGW}"])

    def plug(self, interface: Interface, *, prefix_length: int, gateway: str) -> str:
        """Make the namespace and cable of a machine about to boot; returns the namespace's name.

        A namespace that someone lives in is left as it is, any other is made anew: nothing of the
        machine's last life (addresses, firewall, orphaned sockets) may be there when it boots.
        """
        with self._lock:
            netns = self._paths.host_netns(interface.instance_id)
            self.wake(interface.eni_id)
            if self._plugged.get(interface.eni_id) == netns and namespace.inhabited(netns):
                return netns
            if namespace.exists(netns) and namespace.inhabited(netns):
                raise LabError(
                    f"{interface.instance_id} runs already, without interface {interface.eni_id}",
                    hint="stop the instance first; a second interface of a host is not part of the lab",
                )
            self.unplug(interface.eni_id)
            namespace.delete(netns)
            namespace.add(netns)
            self._lay_cable(interface, netns, prefix_length, gateway)
            self._plugged[interface.eni_id] = netns
            self._settle()
            return netns

    def _lay_cable(self, interface: Interface, netns: str, prefix_length: int, gateway: str) -> None:
        name, mac, address = link(interface.eni_id), interface.mac, interface.private_ips[0]
        peer = f"peer name eth0 address {mac} netns {netns}"
        neighbour = f"neighbour replace {address} lladdr {mac} dev {name} nud permanent"
        self._router.ip([f"link add {name} type veth {peer}", f"link set {name} up", neighbour])
        self._router.sysctl({f"net.ipv4.neigh.{name}.proxy_delay": "0"})  # ARP answered at once
        inside = ["link set lo up", f"address add {address}/{prefix_length} brd + dev eth0"]
        inside += ["link set eth0 up", f"route add default via {gateway} dev eth0"]
        namespace.batch(inside, netns=netns)

    def silence(self, eni_id: str) -> None:
        """Stop every packet from and to this interface at once, without a word (before a crash)."""
        with self._lock:
            self._faults.silenced.add(link(eni_id))
            self._elements("add", silenced=rules.quoted([link(eni_id)]))

    def wake(self, eni_id: str) -> None:
        """Undo `silence`; `plug` does so, too."""
        with self._lock:
            if link(eni_id) in self._faults.silenced:
                self._elements("delete", silenced=rules.quoted([link(eni_id)]))
                self._faults.silenced.discard(link(eni_id))

    def unplug(self, eni_id: str) -> None:
        """Remove cable and namespace; routes to the interface become blackholes first."""
        with self._lock:
            netns = self._plugged.pop(eni_id, None)
            if netns is None:
                return
            self._settle()
            self._router.ip([f"link delete {link(eni_id)}"])
            namespace.delete(netns)

    def apply(self, network: Network) -> None:
        """Make routes, security groups, checks and NAT equal `network`; touches only what differs."""
        with self._lock:
            self._network = network
            self._settle()

    def _settle(self) -> None:
        """Bring the kernel from what it was last told to what the network and the cables ask for."""
        network = self._network
        judged = (network.groups, network.interfaces, network.subnets, network.acls)
        if judged != self._judged:
            self._router.nft(rules.ruleset(self._network, self._faults))
            self._judged = judged
        wanted = routing.plan(self._network, frozenset(self._plugged), self._numbers)
        if wanted != self._planned:
            self._route(wanted)
        self._answer_services()

    def _route(self, wanted: routing.Plan) -> None:
        was, self._planned = self._planned, None
        if was is None:  # an earlier change stopped half-way
            self._router.do(lambda: namespace.batch_anyway(routing.afresh(self._numbers)))
            was = routing.EMPTY
        self._router.ip(routing.changes(was, wanted))
        self._planned = wanted

    def _answer_services(self) -> None:
        """The region's services answer private addresses over the endpoint link."""
        wanted = frozenset(c for _, cidrs in self._network.vpc_cidrs for c in cidrs)
        if wanted != self._services:
            lines = [f"route replace {c} via {SVC_ROUTER} dev {SVC}" for c in sorted(wanted)]
            lines += [f"route delete {c}" for c in sorted(self._services - wanted)]
            self._internet.ip(lines)
            self._services = wanted

    def cut(self, eni_id: str, peer_eni_id: str | None = None, *, one_way: bool = False) -> None:
        """Drop silently all traffic of an interface, or only that between two; one way: what it sends."""
        with self._lock:
            name = link(eni_id)
            if peer_eni_id is not None:
                pairs = {(name, link(peer_eni_id))}
                if not one_way:
                    pairs.add((link(peer_eni_id), name))
                self._faults.pairs |= pairs
                self._elements("add", pairs=[rules.pair(*p) for p in pairs])
            elif one_way:
                self._faults.muted.add(name)
                self._elements("add", muted=rules.quoted([name]))
            else:
                self._faults.cut.add(name)
                self._elements("add", cut=rules.quoted([name]))

    def heal(self, eni_id: str) -> None:
        """Undo every cut that names this interface."""
        with self._lock:
            name = link(eni_id)
            pairs = {p for p in self._faults.pairs if name in p}
            cut, muted = self._faults.cut & {name}, self._faults.muted & {name}
            self._elements(
                "delete",
                cut=rules.quoted(cut),
                muted=rules.quoted(muted),
                pairs=[rules.pair(*p) for p in pairs],
            )
            self._faults.cut -= cut
            self._faults.muted -= muted
            self._faults.pairs -= pairs

    def reach_api(self, reachable: bool) -> None:
        """Let the machines reach the API's addresses, or drop what they send there."""
        with self._lock:
            if reachable:
                self._elements("delete", unreachable=sorted(self._faults.unreachable))
                self._faults.unreachable.clear()
            else:
                self._faults.unreachable.update(rules.API_ADDRESSES)
                self._elements("add", unreachable=list(rules.API_ADDRESSES))

    def _elements(self, verb: str, **sets: list[str]) -> None:
        lines = [
            f"{verb} element ip {rules.TABLE} {name} {{ {', '.join(elements)} }}\n"
            for name, elements in sets.items()
            if elements
        ]
        if lines:
            self._router.nft("".join(lines))

    def listen(self, place: Place, address: str, port: int) -> socket.socket:
        """A listening TCP socket bound inside one of the lab's own namespaces."""
        room = self._router if place == "router" else self._internet
        return room.listen(address, port)

    def close(self) -> None:
        """Leave the namespaces and remove them all."""
        with self._lock:
            for eni_id in list(self._plugged):
                self.unplug(eni_id)
            self._router.close()
            self._internet.close()


def sweep(paths: LabPaths) -> None:
    """Remove every namespace of this lab, and with them its cables. May be repeated."""
    own = [paths.router_netns, paths.internet_netns]
    hosts = re.compile(re.escape(paths.host_netns("i-")) + "[0-9a-f]+")
    # The router first: its end of each cable takes the host's end along, whoever still lives there.
    for name in [*own, *filter(hosts.fullmatch, namespace.names())]:
        namespace.delete(name)
