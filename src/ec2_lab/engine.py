"""Makes true what the API states: instances become machines, tables become routes.

Invariants
- `life.stage` is what the API says of an instance; only this module moves it, under the lock.
- The lock is never held while a machine boots, stops or dies; each instance has a worker for that.
- `plugged` names the interfaces with a cable in the kernel. A route leads to an interface only
  while it is in there, so it is taken out before a cable is pulled and put in after it is plugged.
- The kernel hears of changes through one worker, in order, and nobody waits longer than
  KERNEL_DEADLINE_S for it.

Simulated:
- [assumed] `pending` until init of the machine runs
- [assumed (AWS: a few minutes)] StopInstances asks init to power off, and cuts the power after 60 s <EC2
  user guide: stop>
- [documented] SkipOsShutdown cuts the power <EC2 API: StopInstances>
- [assumed; harsher than AWS, which tries a clean shutdown first] Force cuts the power at once <EC2 API:
  StopInstances>
- [documented (code), assumed (at first start AWS terminates)] a machine that does not boot: `stopped`,
  Server.InternalError <EC2 user guide: instance state reasons>
- [documented] a machine that powers itself off: `stopped`, Client.InstanceInitiatedShutdown; seen when
  somebody asks for instances <EC2 API: StateReason>
- [assumed] after a power loss the API goes on saying `running`
- [documented (states), assumed (1 s; AWS: seconds to minutes)] `stopping` and `shutting-down` are shown
  for a while after the machine is gone <EC2 user guide: instance lifecycle>
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Set
from concurrent.futures import Future
from functools import partial
from typing import Any

from ec2_lab.door import tidy, view
from ec2_lab.door.amend import primary
from ec2_lab.door.calls import Call
from ec2_lab.door.worker import Worker
from ec2_lab.life import MOVING, Life, Stage
from ec2_lab.model import Power
from ec2_lab.ports import Machines, Wires

log = logging.getLogger(__name__)

GRACEFUL_STOP_S = 60.0
KERNEL_DEADLINE_S = 5.0
VOLUME_DEADLINE_S = 10.0
STATES_LAG_S = 1.0


class Engine:
    """Keeps machines and wires equal to the API's state. `lock` guards all of moto."""

    def __init__(self, backend: Any, wires: Wires, machines: Machines, lock: threading.RLock) -> None:
        self.backend = backend
        self.wires = wires
        self.machines = machines
        self.lock = lock
        self.settled = threading.Condition(lock)  # notified whenever an instance changes its stage
        self.lives: dict[str, Life] = {}
        self.plugged: set[str] = set()
        self.states_lag_s = STATES_LAG_S
        self.trouble = ""  # why the kernel does not equal the API's state; empty when it does
        self._disks: dict[str, Worker] = {}  # volume id → the worker that last touched it
        self._kernel = Worker("kernel")
        self._spare = Worker("volumes")
        self._applied: Any = None

    # --- after each changing call, under the lock ---

    def follow(self, call: Call) -> list[Future[Any]]:
        """Begin whatever the call asks for. Returns the work its answer should wait for, lock released."""
        tidy.after(call, self.backend)
        hard = call.flag("Force") or call.flag("SkipOsShutdown")
        if call.action == "StopInstances" and hard:
            self._hurry(call.listed("InstanceId"))
        for reservation in list(self.backend.reservations.values()):
            for instance in reservation.instances:
                self._follow_instance(instance, hard)
        if call.action == "RebootInstances":
            for instance_id in call.listed("InstanceId"):
                life = self.lives[instance_id]
                life.move(Stage.RUNNING)
                self._start_job(life, partial(self._reboot, life))
        waits = self._follow_volumes()
        self.apply()
        return waits

    def apply(self) -> None:
        """Make the kernel equal the API's state. Under the lock; raises when the kernel does not follow."""
        wanted = view.network(self.backend, self.plugged)
        if wanted == self._applied and not self.trouble:
            return
        self._applied = wanted
        try:
            self._kernel.submit(lambda: self.wires.apply(wanted)).result(KERNEL_DEADLINE_S)
        except Exception as error:
            self.trouble = f"{type(error).__name__}: {error}"
            log.exception("the kernel does not follow the API's state")
            raise
        self.trouble = ""

    def _follow_instance(self, instance: Any, hard: bool) -> None:
        life = self.lives.get(instance.id)
        if life is None:
            if instance.state == "terminated":
                return
            life = Life(instance, view.interface(primary(instance)), Worker(instance.id))
            life.volumes = {v.volume_id: v for v in view.data_volumes(instance)}
            self._disks |= dict.fromkeys(life.volumes, life.worker)
            self.lives[instance.id] = life
            life.move(Stage.PENDING)
            self._start_job(life, partial(self._power_on, life))
            return
        stated, was = instance.state, life.stage
        if stated == "terminated" and was not in (Stage.SHUTTING_DOWN, Stage.TERMINATED):
            life.move(Stage.SHUTTING_DOWN)
            self._start_job(life, partial(self._destroy, life))
        elif stated == "stopped" and was is Stage.RUNNING:
            life.move(Stage.STOPPING)
            self._start_job(life, partial(self._power_off, life, hard))
        elif stated == "running" and was is Stage.STOPPED:
            life.move(Stage.PENDING)
            self._start_job(life, partial(self._power_on, life))
        else:
            life.move(was)  # moto may have run ahead; what we say is what is

    def _follow_volumes(self) -> list[Future[Any]]:
        waits = []
        for life in self.lives.values():
            if life.stage in (Stage.SHUTTING_DOWN, Stage.TERMINATED):
                continue
            stated = {v.volume_id: v for v in view.data_volumes(life.instance)}
            for volume_id in life.volumes.keys() - stated.keys():
                waits.append(
                    life.worker.submit(partial(self.machines.detach_volume, life.instance_id, volume_id))
                )
            for volume_id in stated.keys() - life.volumes.keys():
                self._disks[volume_id] = life.worker
                if life.stage is not Stage.STOPPED:  # a stopped one gets it when it boots
                    attach = partial(self.machines.attach_volume, life.instance_id, stated[volume_id])
                    waits.append(life.worker.submit(attach))
            life.volumes = stated
        for volume_id in self._disks.keys() - self.backend.volumes.keys():
            # On the worker that used it last: a machine that is dying is gone by then.
            worker = self._disks.pop(volume_id)
            worker.submit(partial(self.machines.delete_volume, volume_id)).add_done_callback(_log_failure)
        return waits

    def notice_shutdowns(self) -> None:
        """A machine that powered itself off is a stopped instance. Under the lock."""
        for life in self.lives.values():
            if life.stage is not Stage.RUNNING or life.dark:
                continue
            if self.machines.power(life.instance_id) is Power.OFF:
                reason = "Client.InstanceInitiatedShutdown"
                life.instance.state_reason.code = reason
                life.instance.state_reason.message = f"{reason}: Instance initiated shutdown"
                life.move(Stage.STOPPING)
                self._start_job(life, partial(self._power_off, life, False))

    def _hurry(self, instance_ids: list[str]) -> None:
        """A forced stop of what is stopping already: cut the power while the worker waits for init."""
        for life in (self.lives[i] for i in instance_ids if i in self.lives):
            if life.stage is Stage.STOPPING:
                self._spare.submit(partial(self._cut_power, life)).add_done_callback(_log_failure)

    # --- on the instance's worker, lock not held ---

    def _start_job(self, life: Life, job: Callable[[], None]) -> Future[Any]:
        future = life.worker.submit(job)
        future.add_done_callback(_log_failure)
        return future

    def _power_on(self, life: Life) -> None:
        try:
            self.boot(life)
        except Exception as error:
            log.exception("instance %s does not boot", life.instance_id)
            self._settle_failed_boot(life, error)
        else:
            self._settle(life, Stage.RUNNING, unless=(Stage.SHUTTING_DOWN,))

    def boot(self, life: Life) -> None:
        """Plug it in and boot it. On its worker."""
        with self.lock:
            life.interface = view.interface(primary(life.instance))
            prefix_length, gateway = view.addressing(primary(life.instance))
            spec = view.host(self.backend, life.instance)
        netns = self.wires.plug(life.interface, prefix_length=prefix_length, gateway=gateway)
        with self.lock:
            self.plugged.add(life.interface.eni_id)
            self.apply()
        self.machines.boot(spec, netns)
        life.dark = False

    def _settle_failed_boot(self, life: Life, error: Exception) -> None:
        for step in (partial(self.machines.crash, life.instance_id), partial(self.unplug, life)):
            try:
                step()
            except Exception:
                log.exception("cleaning up after instance %s", life.instance_id)
        with self.lock:
            life.instance.state_reason.code = "Server.InternalError"
            life.instance.state_reason.message = f"Server.InternalError: {error}"
            life.instance._reason = "Server.InternalError"
        self._settle(life, Stage.STOPPED, unless=(Stage.SHUTTING_DOWN,))

    def _power_off(self, life: Life, hard: bool) -> None:
        try:
            if hard:
                self._cut_power(life)
            else:
                self.machines.shut_down(life.instance_id, GRACEFUL_STOP_S)
            self.unplug(life)
        finally:
            self._lag()
            self._settle(life, Stage.STOPPED, unless=(Stage.SHUTTING_DOWN,))

    def _reboot(self, life: Life) -> None:
        life.dark = True
        self.machines.shut_down(life.instance_id, GRACEFUL_STOP_S)
        self.unplug(life)
        self._power_on(life)

    def _destroy(self, life: Life) -> None:
        try:
            self.wires.silence(life.interface.eni_id)
            self.machines.destroy(life.instance_id)
            self.unplug(life)
        finally:
            self._lag()
            self._settle(life, Stage.TERMINATED)
            life.worker.stop()

    def _lag(self) -> None:
        """The API learns later than we do that a machine is gone."""
        threading.Event().wait(self.states_lag_s)

    def _cut_power(self, life: Life) -> None:
        self.wires.silence(life.interface.eni_id)
        self.machines.crash(life.instance_id)

    def lose_power(self, life: Life) -> None:
        """Cut the power behind the API's back. On the instance's worker."""
        life.dark = True
        self._cut_power(life)
        self.unplug(life)

    def pause(self, life: Life) -> None:
        """Freeze the machine. Its kernel is ours and would go on answering, so its cable goes dumb, too."""
        self.wires.silence(life.interface.eni_id)
        try:
            self.machines.pause(life.instance_id)
        except Exception:
            self.wires.wake(life.interface.eni_id)
            raise

    def resume(self, life: Life) -> None:
        self.machines.resume(life.instance_id)
        self.wires.wake(life.interface.eni_id)

    def unplug(self, life: Life) -> None:
        """Routes first, then the cable."""
        with self.lock:
            self.plugged.discard(life.interface.eni_id)
            self.apply()
        self.wires.unplug(life.interface.eni_id)

    def _settle(self, life: Life, stage: Stage, unless: tuple[Stage, ...] = ()) -> None:
        with self.lock:
            if life.stage not in unless:
                life.move(stage)
            self.settled.notify_all()

    # --- for those who ask ---

    def wait_settled(self, instance_ids: Set[str], timeout_s: float) -> None:
        """Wait until none of these instances (all, when empty) is on its way to another state."""

        def still() -> bool:
            return not any(
                life.stage in MOVING
                for life in self.lives.values()
                if not instance_ids or life.instance_id in instance_ids
            )

        with self.lock:
            self.settled.wait_for(still, timeout_s)


def _log_failure(future: Future[Any]) -> None:
    if error := future.exception():
        log.error("a machine did not follow: %s", error, exc_info=error)
