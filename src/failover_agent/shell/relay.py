"""The way round: what the holder cannot reach itself goes through peers that can (PROTOCOL P4, R1).

`RelayedStore` and `RelayedRoutes` stand before the real ports and use them first. `Relay` is the other side:
it carries what a peer asks, by this node's own ways only, so that nothing is carried twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from failover_agent.core.model import (
    Absent,
    Heard,
    LeaseItem,
    NodeReport,
    Refused,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.core.promises import is_silence
from failover_agent.core.relay import RouteChange, why_not_carry, why_not_point
from failover_agent.core.snapshot import Mine
from failover_agent.errors import AgentError, PeerRefused, RenewedThroughPeer
from failover_agent.ports import Clock, LeaseStore, Peers, RouteTables
from failover_agent.shell.journal import Journal
from failover_agent.shell.threads import Workers

RENEWING = "this node's own way to the store"


class RelayedStore:
    """Implements `ports.LeaseStore`: a holder's write without an answer is tried once through each peer."""

    def __init__(self, own: LeaseStore, peers: Peers, workers: Workers, journal: Journal) -> None:
        self._own = own
        self._peers = peers
        self._workers = workers
        self._journal = journal
        self.through = ""  # the peer that carried the last write; empty: none was needed

    def read(self) -> LeaseItem | Unknown | None:
        return self._own.read()

    def note(self, key: str, value: Mapping[str, str]) -> Unknown | None:
        return self._own.note(key, value)

    def notes(self, prefix: str) -> Mapping[str, Mapping[str, str]] | Unknown:
        return self._own.notes(prefix)

    def write(self, item: LeaseItem, *, only_if: Absent | Version) -> WriteOutcome:
        outcome = self._own.write(item, only_if=only_if)
        if not isinstance(outcome, Unknown):
            self._direct()
            return outcome
        if not is_silence(outcome) or isinstance(only_if, Absent) or only_if.epoch != item.epoch:
            return outcome
        return self._through_peers(item, only_if) or outcome

    def _through_peers(self, item: LeaseItem, only_if: Version) -> WriteOutcome | None:
        """All at once: it is one write, whoever carries it, and time is short. None: nobody knows."""
        answers: dict[str, WriteOutcome] = {}

        def ask(name: str) -> None:
            answers[name] = self._peers.relay_write(name, item, only_if)

        names = _who(self._peers, lambda report: report.reads_store)
        self._workers.all([partial(ask, name) for name in names])
        told = {name: answers[name] for name in names if name in answers}
        for name, outcome in told.items():
            if not isinstance(outcome, Unknown):
                self._carried_by(name, isinstance(outcome, Refused))
                return outcome
        return next((o for o in told.values() if isinstance(o, Unknown) and not is_silence(o)), None)

    def _carried_by(self, name: str, refused: bool) -> None:
        if self.through != name and not refused:
            self.through = name
            self._journal.event("renewed-through", peer=name)
        self._journal.trouble(RENEWING, _renewed_through(name))

    def _direct(self) -> None:
        self.through = ""
        self._journal.fine(RENEWING)


class RelayedRoutes:
    """Implements `ports.RouteTables`: what EC2 did not answer is tried once through each peer it answers."""

    def __init__(
        self, own: RouteTables, peers: Peers, clock: Clock, mine: Callable[[], Mine | None], journal: Journal
    ) -> None:
        self._own = own
        self._peers = peers
        self._clock = clock
        self._mine = mine
        self._journal = journal

    def targets(self, vip: str) -> Mapping[str, str] | Unknown:
        shown = self._own.targets(vip)
        if isinstance(shown, Unknown) and self._mine() is not None:
            for name in _who(self._peers, lambda report: report.reaches_ec2):
                answer = self._peers.relay_targets(name, vip)
                if not isinstance(answer, Unknown):
                    return answer
        return shown

    def drops_strangers(self, interface_id: str) -> bool | Unknown:
        return self._own.drops_strangers(interface_id)

    def point(self, table_id: str, vip: str, interface_id: str) -> Unknown | None:
        answer = self._own.point(table_id, vip, interface_id)
        if answer is None:
            return None
        for name in _who(self._peers, lambda report: report.reaches_ec2):
            mine = self._mine()  # right before, each time: who holds it no longer asks for nothing (R1)
            if mine is None:
                return answer
            within_s = mine.valid_until - self._clock.now()
            change = RouteChange(table_id, vip, interface_id, mine.epoch, within_s)
            if self._peers.relay_point(name, change) is None:
                self._journal.event("routed-through", peer=name, table=table_id)
                return None
        return answer


class Relay:
    """Carries for others; asked at this node's door, by the name in the asker's certificate."""

    def __init__(self, store: LeaseStore, routes: RouteTables, vips: frozenset[str], clock: Clock) -> None:
        self._store = store
        self._routes = routes
        self._vips = vips
        self._clock = clock

    def write(self, asker: str, item: LeaseItem, only_if: Version) -> WriteOutcome:
        """The asker's own conditional write, unchanged, once (P4). Raises PeerRefused."""
        if why := why_not_carry(asker, item, only_if):
            raise PeerRefused(f"not carried: {why}", hint="A node asks for its own lease only.")
        return self._store.write(item, only_if=only_if)

    def targets(self, vip: str) -> Mapping[str, str] | Unknown:
        """Raises PeerRefused."""
        self._check(vip)
        return self._routes.targets(vip)

    def point(self, asker: str, change: RouteChange) -> Unknown | None:
        """Look at the lease, at the time, then change the route once. Raises AgentError."""
        began = self._clock.now()
        self._check(change.vip)
        item = self._store.read()
        waited_s = self._clock.now() - began
        known = item if isinstance(item, LeaseItem) else None
        if why := why_not_point(asker, change, waited_s, known):
            raise PeerRefused(f"the route stays: {why}", hint="The holder moves it.")
        return self._routes.point(change.table_id, change.vip, change.interface_id)

    def _check(self, vip: str) -> None:
        if vip not in self._vips:
            raise PeerRefused(f"{vip} is no endpoint of this cluster", hint="Run playbooks/site.yml.")


def _who(peers: Peers, reaches: Callable[[NodeReport], bool]) -> list[str]:
    heard = {name: h.report for name, h in sorted(peers.reports().items()) if isinstance(h, Heard)}
    return [name for name, report in heard.items() if reaches(report)]


def _renewed_through(name: str) -> AgentError:
    return RenewedThroughPeer.about(
        "the way of this node to the store",
        value=f"no answer; the lease is renewed through {name}",
        expected="an answer of DynamoDB",
        hint="The primary goes on. See to this node's way: endpoint, NAT, security groups, credentials.",
    )
