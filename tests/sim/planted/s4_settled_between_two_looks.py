from failover_agent.shell.synchroniser import Synchroniser
from tests.sim.planted import Plant

PLANT = Plant(
    rule="S4",
    wrong="the lease is looked at before PostgreSQL, and whether a write of it is unsettled after",
    function=Synchroniser._standing,
    text="unsettled,",
    instead="self._keeper.unsettled(),",
)
