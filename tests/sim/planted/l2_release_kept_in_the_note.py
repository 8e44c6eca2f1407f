from failover_agent.shell import lease_release
from tests.sim.planted import Plant

PLANT = Plant(
    rule="L2",
    wrong="a lease that was given away stays in the note for the next life",
    function=lease_release._settle,
    text="return desk.forget_note()",
    instead="return True",
)
