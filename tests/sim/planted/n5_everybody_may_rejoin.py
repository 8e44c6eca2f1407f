from failover_agent.shell.rejoin_slot import RejoinSlot
from tests.sim.planted import Plant

PLANT = Plant(
    rule="N5",
    wrong="the slot for destructive steps is granted to all at once",
    function=RejoinSlot.grant,
    text="and now < until",
    instead="and False",
)
