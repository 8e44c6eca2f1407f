from failover_agent.shell.keeper import Keeper
from tests.sim.planted import Plant

PLANT = Plant(
    rule="L2",
    wrong="a lease that was given away stays in the note for the next life",
    function=Keeper._settle,
    text="self._memory.forget()",
    instead="pass",
)
