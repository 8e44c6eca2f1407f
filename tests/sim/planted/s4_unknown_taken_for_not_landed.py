from failover_agent.shell.keeper import Keeper
from tests.sim.planted import Plant

PLANT = Plant(
    rule="S4",
    wrong="a write of (S, k) without an answer is taken for one that did not land",
    function=Keeper.unsettled,
    text="self._desk.pending is not None",
    instead="False",
)
