"""Looks at the world and makes the snapshot that one decision is taken from."""

from __future__ import annotations

import threading
from dataclasses import replace

from failover_agent.core.model import Heard, LeaseItem, LeaseSeen, Server, ServerState, Unknown
from failover_agent.core.other_facts import ASTRAY_S, i_start_for_somebody_else
from failover_agent.core.promotion import Standing
from failover_agent.core.snapshot import Snapshot
from failover_agent.core.suspicion import expires_at, is_suspected, suspects_after_s
from failover_agent.errors import AgentError
from failover_agent.shell.body import HALF_REWOUND, Body

AHEAD_S = 0.1  # a look that is to end when the primary counts as missed begins this long before
EDGE_S = 0.001  # beyond a moment, so that no rounding lies before it


class Observer:
    def __init__(self, body: Body) -> None:
        self._body = body
        self._lease: LeaseSeen | None = None  # as last read; None also after a forget
        self._suspected_token = ""
        self._server_before: Server | None = None
        self._blind_since: float | None = None
        self._unstreamed_since: float | None = None
        self._unmoved: tuple[int, float] | None = None  # how far a standby's WAL goes, since when
        self._replayed: tuple[int, float] | None = None  # how far a standby has replayed, since when
        self._astray_since: float | None = None
        self._lacks_wal: bool | None = None  # what has been starting since then; None: not read
        self._wal_end = 0  # of the stopped server, 0: not read
        self._ignore_before = 0.0  # reports heard earlier were believed by who slept since
        self.reaches_ec2 = False
        self._store_read_at = float("-inf")
        self.standing = Standing.IN_LINE
        self.last_epoch = 0
        self.holder_name = ""
        self.item: LeaseItem | None = None  # as it was last known to stand

    def look(self, round_began: float, slept_s: float) -> Snapshot:
        body, clock = self._body, self._body.ports.clock
        mark = body.jobs.mark()
        server = self._server()
        if isinstance(server, Server):
            body.keeper.know(server)
        health = body.vigil.round(server, self._server_before)
        lease = self._lease_seen()
        settings, ports = body.settings, body.ports
        bound = self._bound()
        self._end_when_missed(lease)
        now = clock.now()
        seen = Snapshot(
            now=now,
            me=settings.me,
            others=settings.others,
            timings=settings.timings,
            lag_limit_bytes=settings.lag_limit_bytes,
            server=server,
            lease=lease,
            mine=body.keeper.mine(),
            heard=self._heard(),
            slept_s=max(slept_s, now - round_began),
            server_before=self._server_before,
            blind_s=_lasts_s(self._blind_since, now),
            unstreamed_s=_lasts_s(self._unstreamed_since, now),
            unmoved_s=_lasts_s(self._unmoved[1] if self._unmoved else None, now),
            replay_still_s=_lasts_s(self._replayed[1] if self._replayed else None, now),
            unanswered=body.keeper.unanswered(),
            claiming=body.keeper.claiming(),
            gathered=body.campaign.gathered(lease),
            promised=body.keeper.promises.bound(),
            serving_epoch=body.keeper.serving_epoch(),
            reading_epoch=body.keeper.gate.reading_epoch,
            vips_bound=bound,
            job=body.jobs.done_since(mark),
            resting=body.jobs.resting(),
            failed_starts=body.jobs.failed_starts,
            bootstrap_token=ports.bootstrap_token.present(),
            adopts=ports.bootstrap_token.adopts(),
            half_rewound=ports.state_notes.load(HALF_REWOUND) is not None,
            standing=self._standing(server, lease),
            order=body.orders.open(),
            pause_sent=body.keeper.may_be_paused(),
            accepted_loss=body.orders.accepted_loss,
            nofailover=settings.nofailover or body.jobs.stands_back(),
            priority=settings.priority,
            reaches_ec2=self.reaches_ec2,
            health=health,
            limits=settings.limits,
            sync=body.synchroniser.progress,
            fencing=settings.fencing,
            fences=body.fencer.fences,
            kept=body.slots.told,
        )
        return seen.but(astray_s=self._time_astray(seen))

    def _time_astray(self, seen: Snapshot) -> float:
        """For how long; its own WAL, read once where that takes a while, tells whether it needs more."""
        if not i_start_for_somebody_else(seen) or self._body.vigil.health.hung:
            self._astray_since = self._lacks_wal = None
            return 0.0
        if self._astray_since is None:
            self._astray_since = seen.now
        astray_s = seen.now - self._astray_since
        if self._lacks_wal is None and astray_s >= ASTRAY_S:
            assert isinstance(seen.server, Server), "it is seen as starting"
            end = self._body.ports.postgres.wal_end()
            # Where it cannot be read, what may be a recovery that gets on is left alone.
            self._lacks_wal = isinstance(end, int) and end < seen.server.whole_from
        return astray_s if self._lacks_wal else 0.0

    def _lease_seen(self) -> LeaseSeen | Unknown | None:
        mine, clock = self._body.keeper.mine(), self._body.ports.clock
        if mine is None:
            return self._read()
        # the holder needs no read: its next conditional write tells it all
        self._learn(mine.item)
        return LeaseSeen(mine.item, clock.now(), clock.now())

    def _standing(self, server: Server | Unknown, lease: LeaseSeen | Unknown | None) -> Standing:
        if self._body.keeper.mine() is not None:
            return Standing.IN_LINE  # the line goes where its holder goes
        self.standing = self._body.promotions.judge(server, lease)
        return self.standing

    def _bound(self) -> bool:
        """Whether a virtual address is on this node; not knowing counts as yes, it is then taken off."""
        try:
            return bool(self._body.vips() & self._body.ports.addresses.bound())
        except AgentError as error:
            self._body.journal.trouble("looking for the virtual address", error)
            return True

    def reads_store(self) -> bool:
        """Whether a round of this node read the lease lately: who cannot read it cannot claim it."""
        now = self._body.ports.clock.now()
        return now - self._store_read_at <= self._body.settings.timings.suspect_after_s

    def timeline(self) -> int:
        """Of this node's PostgreSQL when it last answered."""
        return self._server_before.timeline if self._server_before else 0

    def _server(self) -> Server | Unknown:
        server = self._with_wal_end(self._body.ports.postgres.observe())
        if isinstance(server, Server):
            self._server_before, self._blind_since = server, None
            self._time_streaming(server)
            self._time_replay(server)
        elif self._blind_since is None:
            self._blind_since = self._body.ports.clock.now()
        return server

    def _with_wal_end(self, server: Server | Unknown) -> Server | Unknown:
        """A stopped server's own end decides how it returns; read once per stop, as it costs a moment."""
        if not isinstance(server, Server) or server.state is not ServerState.STOPPED:
            self._wal_end = 0
            return server
        if server.received_lsn or self._body.jobs.doing() or self._body.vigil.health.hung:
            return server  # also where reading would hang: whoever waits for the volume waits for it all
        if not self._wal_end:
            end = self._body.ports.postgres.wal_end()
            self._wal_end = end if isinstance(end, int) else 0
        return replace(server, received_lsn=self._wal_end)

    def _time_streaming(self, server: Server) -> None:
        if server.state is not ServerState.STANDBY or server.streaming:
            self._unstreamed_since = self._unmoved = None
            return
        now, position = self._body.ports.clock.now(), max(server.received_lsn, server.replayed_lsn)
        if self._unstreamed_since is None:
            self._unstreamed_since = now
        if self._unmoved is None or self._unmoved[0] != position:
            self._unmoved = (position, now)

    def _time_replay(self, server: Server) -> None:
        if server.state is not ServerState.STANDBY:
            self._replayed = None
        elif self._replayed is None or self._replayed[0] != server.replayed_lsn:
            self._replayed = (server.replayed_lsn, self._body.ports.clock.now())

    def expect_primary(self) -> None:
        """From here on a silent PostgreSQL may be a primary: we are about to make it one."""
        self._server_before = Server(ServerState.PRIMARY)

    def _read(self) -> LeaseSeen | Unknown | None:
        body = self._body
        answer = body.ports.store.read()
        received = body.ports.clock.now()
        if isinstance(answer, Unknown):
            return answer
        self._store_read_at = received
        if answer is None:
            self._lease = None
            return None
        self._learn(answer)
        before = self._lease
        same = before is not None and (before.item.epoch, before.item.token) == (answer.epoch, answer.token)
        since = before.token_seen_at if before is not None and same else received
        self._lease = LeaseSeen(answer, token_seen_at=since, read_at=received)
        self._say_suspicion(self._lease)
        return self._lease

    def _learn(self, item: LeaseItem) -> None:
        self.last_epoch = max(self.last_epoch, item.epoch)
        self.holder_name = item.holder.name if item.holder else ""
        self.item = item
        self._body.keeper.promises.learn(item)

    def _say_suspicion(self, seen: LeaseSeen) -> None:
        settings = self._body.settings
        if seen.item.token == self._suspected_token:
            return
        if is_suspected(seen, settings.timings.suspect_after_s):
            self._suspected_token = seen.item.token
            self._body.journal.phase("suspected", seen.item.epoch)

    def _heard(self) -> tuple[Heard, ...]:
        return tuple(h for h in self._body.fresh_heard() if h.at >= self._ignore_before)

    def forget(self) -> None:
        """Believe nothing that was seen before now; what was to happen within a time gets it anew (N7)."""
        self._lease = None
        self._unstreamed_since = self._unmoved = self._replayed = None
        self._astray_since = self._lacks_wal = None
        self._body.vigil.forget()
        self._ignore_before = self._body.ports.clock.now()

    def _end_when_missed(self, lease: LeaseSeen | Unknown | None) -> None:
        """Wait out the rest, where all that is missing to miss the primary is a moment of its own silence.

        So a look costs nothing of the outage. Nothing is concluded sooner: the beat was missed in this very
        read, and every vote asks again when the holder itself was heard (F1).
        """
        timings, clock = self._body.settings.timings, self._body.ports.clock
        if not isinstance(lease, LeaseSeen) or not is_suspected(lease, timings.suspect_after_s):
            return
        due_s = suspects_after_s(lease.item, timings.suspect_after_s)
        left_s = self._body.sealer.heard_at(lease.item.last_holder) + due_s - clock.now()
        if 0 < left_s <= AHEAD_S:
            clock.wait(threading.Event(), left_s + EDGE_S)

    def pause_s(self) -> float:
        """Until the next look is due: a poll, or sooner for the moment a watched lease can be taken."""
        timings = self._body.settings.timings
        if self._lease is None or self._body.keeper.mine() is not None:
            return timings.poll_s
        now, heard_at = self._body.ports.clock.now(), self._body.sealer.heard_at(self.holder_name)
        # A beat is missed by a read that comes after the time, silence by the end of a look.
        due_s = suspects_after_s(self._lease.item, timings.suspect_after_s)
        missed = max(self._lease.token_seen_at, heard_at - AHEAD_S) + due_s
        moments = (expires_at(self._lease), missed)
        return min([timings.poll_s, *(moment - now for moment in moments if moment > now)])


def _lasts_s(since: float | None, now: float) -> float:
    return now - since if since is not None else 0.0
