from failover_agent.shell.synchroniser import Synchroniser
from tests.sim.planted import Plant

PLANT = Plant(
    rule="S4",
    wrong="the lease counts as the round found it, and whether a write of it is unsettled as it is later",
    function=Synchroniser._round,
    text="self._keeper.known()",
    instead="seen.mine, self._keeper.unsettled()",
)
