"""Keeps the route tables pointing at the holder, for ever, on a thread of its own (R1).

The route is only how clients find the holder. ReplaceRoute takes no condition, so a
deposed holder's late call cannot be excluded; what makes that harmless is its shut gate,
and the holder repairs the route in the next round.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from failover_agent.core import verdicts
from failover_agent.core.model import Endpoint, Unknown
from failover_agent.errors import AgentError
from failover_agent.shell.body import Body

RECONCILE_S = 3.0  # while serving, between two comparisons of tables and wish
RETRY_S = 0.5  # while serving, after a comparison or a change that failed
CHECK_INTERFACE_S = 180.0  # between two looks at the source/destination check
LOOK_S = 10.0  # of a node that does not serve, to know whether it reaches the API


class Router:
    def __init__(self, body: Body) -> None:
        self._body = body
        self.seen: dict[str, Mapping[str, str] | Unknown] = {}  # vip → what the tables showed last
        self._routed_epoch = 0
        self._settled = True
        self._interface_at = 0.0
        self._drops_strangers = False

    def round(self) -> None:
        """Look at every endpoint's routes; while this node serves, or is about to, repair what differs.

        About to: an API takes its time, and so does a promotion. Until the gate opens, who is led here
        is refused here instead of there.
        """
        epoch = self._body.keeper.gate.epoch_as_primary()
        settled = [self._reconcile(endpoint, epoch) for endpoint in self._body.settings.endpoints]
        self._settled = all(settled)
        if epoch and self._settled and self._body.keeper.holds(epoch) and epoch != self._routed_epoch:
            self._routed_epoch = epoch
            self._body.journal.phase("routed", epoch)

    def look_at_interface(self) -> None:
        """Now and then: whether EC2 would drop what is sent to this node under a virtual address.

        A standby's, too: the day it is needed is too late to learn of it.
        """
        now, mine = self._body.ports.clock.now(), self._body.settings.interface_id
        if now < self._interface_at:
            return
        self._interface_at = now + CHECK_INTERFACE_S
        answer = self._body.ports.routes.drops_strangers(mine)
        where = "reading the source/destination check"
        if isinstance(answer, Unknown):
            self._interface_at = now + LOOK_S
            self._body.journal.trouble(where, answer)
            return
        self._body.journal.fine(where)
        if answer != self._drops_strangers:
            self._body.journal.event("source-dest-check", interface=mine, on=answer)
        self._drops_strangers = answer
        if answer:  # soon: whoever repairs it looks whether it is told no more
            self._interface_at = now + RECONCILE_S

    def problems(self) -> tuple[AgentError, ...]:
        return verdicts.source_dest_check(self._body.settings.interface_id, on=self._drops_strangers)

    def pause_s(self) -> float:
        if not self._body.keeper.gate.epoch_as_primary():
            return LOOK_S
        return RECONCILE_S if self._settled else RETRY_S

    def reaches_ec2(self) -> bool:
        return bool(self.seen) and not any(isinstance(t, Unknown) for t in self.seen.values())

    def _reconcile(self, endpoint: Endpoint, epoch: int) -> bool:
        """Whether every table points here (or is no business of ours)."""
        self._look(endpoint)
        if not epoch:
            return True
        astray = self._astray(endpoint)
        if astray is None:
            return False
        if not astray:
            return True
        self._body.workers.all([partial(self._point, table, endpoint, epoch) for table in astray])
        self._look(endpoint)
        return self._astray(endpoint) == []

    def _look(self, endpoint: Endpoint) -> None:
        found = self._body.ports.routes.targets(endpoint.vip)
        self.seen[endpoint.vip] = found
        where = f"reading the routes of {endpoint.name}"
        if isinstance(found, Unknown):
            self._body.journal.trouble(where, found)
        else:
            self._body.journal.fine(where)

    def _astray(self, endpoint: Endpoint) -> list[str] | None:
        """The tables that point elsewhere; None: unknown, which is not the same as none."""
        found = self.seen[endpoint.vip]
        if isinstance(found, Unknown):
            return None
        mine = self._body.settings.interface_id
        return sorted(table for table, target in found.items() if target != mine)

    def _point(self, table: str, endpoint: Endpoint, epoch: int) -> None:
        """Point one table here, if the lease is still ours right before the call."""
        body = self._body
        if endpoint.vip not in body.ports.addresses.bound():
            return
        mine = body.keeper.alone()  # after everything else that takes a moment
        if mine is None or mine.epoch != epoch:
            return
        where = f"routing {endpoint.name} in {table}"
        try:
            answer = body.ports.routes.point(table, endpoint.vip, body.settings.interface_id)
        except AgentError as error:
            body.journal.trouble(where, error)
            return
        if isinstance(answer, Unknown):
            body.journal.trouble(where, answer)
        else:
            body.journal.fine(where)
