"""The lab's own verbs on a running region: faults, and what is really there (ports.Region)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ec2_lab.door import view
from ec2_lab.door.faults import ApiFaults
from ec2_lab.door.history import History
from ec2_lab.engine import Engine
from ec2_lab.errors import LabError, NoSuchHost
from ec2_lab.life import Life, Stage
from ec2_lab.model import Power

VERB_DEADLINE_S = 90.0


class LabRegion:
    """Faults and facts by host name or instance id. Every verb may be repeated safely."""

    def __init__(self, engine: Engine, history: History, faults: ApiFaults) -> None:
        self._engine = engine
        self._history = history
        self._faults = faults
        self._api_reachable = True

    def hosts(self) -> list[dict[str, str]]:
        """Every instance not terminated, with the real power state, ordered by name."""
        with self._engine.lock:
            known = [
                {
                    "id": life.instance_id,
                    "name": view.name_of(life.instance),
                    "az": str(life.instance.availability_zone),
                    "private_ip": str(life.instance.private_ip_address),
                }
                for life in self._alive()
            ]
        rows = [host | {"state": self._engine.machines.power(host["id"]).value} for host in known]
        return sorted(rows, key=lambda host: (host["name"], host["id"]))

    def status(self) -> dict[str, object]:
        with self._engine.lock:
            stages = [life.stage.value[0] for life in self._alive()]
            counts = {stage: stages.count(stage) for stage in sorted(set(stages))}
            vpcs, tables = len(self._engine.backend.vpcs), len(self._engine.backend.route_tables)
        return {
            "instances": counts,
            "vpcs": vpcs,
            "route_tables": tables,
            "api": self._history.counts(),
            "api_reachable": "yes" if self._api_reachable else "no",
            "api_faults": self._faults.shown(),
            "trouble": self._engine.trouble,
        }

    def history(self, count: int = 100) -> list[dict[str, object]]:
        """The newest API calls, oldest first."""
        return self._history.recent(count)

    def crash(self, host: str) -> None:
        """Power loss: nothing more leaves the machine, and what it had not synced is lost."""
        life = self._find(host)
        self._engine.wires.silence(life.interface.eni_id)
        self._do(life, lambda: self._engine.lose_power(life))

    def start(self, host: str) -> None:
        """Give it power again. The API must want it to run."""
        life = self._find(host)
        if life.stage in (Stage.STOPPED, Stage.STOPPING):
            raise LabError(
                f"host {host} is {life.stage.value[0]} by the API, not without power",
                hint=f"start it through the API: aws ec2 start-instances --instance-ids {life.instance_id}",
            )
        self._do(life, lambda: self._power_up(life))

    def pause(self, host: str) -> None:
        life = self._find(host)
        self._do(life, lambda: self._engine.pause(life))

    def resume(self, host: str) -> None:
        life = self._find(host)
        self._do(life, lambda: self._engine.resume(life))

    def cut(self, host: str, peer: str | None, one_way: bool) -> None:
        far = self._find(peer).interface.eni_id if peer else None
        self._engine.wires.cut(self._find(host).interface.eni_id, far, one_way=one_way)

    def heal(self, host: str) -> None:
        self._engine.wires.heal(self._find(host).interface.eni_id)

    def disk_hang(self, host: str) -> None:
        life = self._find(host)
        self._do(life, lambda: self._engine.machines.hang_disk(life.instance_id))

    def disk_free(self, host: str) -> None:
        life = self._find(host)
        self._do(life, lambda: self._engine.machines.free_disk(life.instance_id))

    def disk_fill(self, host: str) -> None:
        life = self._find(host)
        self._do(life, lambda: self._engine.machines.fill_disk(life.instance_id))

    def disk_empty(self, host: str) -> None:
        life = self._find(host)
        self._do(life, lambda: self._engine.machines.empty_disk(life.instance_id))

    def api(self, reachable: bool) -> None:
        self._engine.wires.reach_api(reachable)
        self._api_reachable = reachable

    def api_fault(self, kind: str, value: float) -> None:
        """Make the API slow, throttled, stale … for callers inside the VPC; 0 ends it."""
        self._faults.set(kind, value)

    def _power_up(self, life: Life) -> None:
        power = self._engine.machines.power(life.instance_id)
        if power is Power.OFF:
            self._engine.unplug(life)  # whatever the dead machine left of its cable
            self._engine.boot(life)
        elif power is Power.PAUSED:
            self._engine.resume(life)

    def _do(self, life: Life, job: Callable[[], Any]) -> None:
        life.worker.submit(job).result(VERB_DEADLINE_S)

    def _alive(self) -> list[Life]:
        gone = (Stage.SHUTTING_DOWN, Stage.TERMINATED)
        return [life for life in self._engine.lives.values() if life.stage not in gone]

    def _find(self, host: str) -> Life:
        with self._engine.lock:
            alive = self._alive()
            named = [life for life in alive if host in (life.instance_id, view.name_of(life.instance))]
            names = sorted(view.name_of(life.instance) for life in alive)
        if not named:
            raise NoSuchHost(f"no host is called {host}", hint=f"hosts: {', '.join(names) or 'none'}")
        if len(named) > 1:
            ids = ", ".join(life.instance_id for life in named)
            raise NoSuchHost(f"{len(named)} hosts are called {host}", hint=f"say which by its id: {ids}")
        return named[0]
