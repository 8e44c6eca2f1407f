from failover_agent.shell import handover
from tests.sim.planted import Plant

PLANT = Plant(
    rule="N3",
    wrong="the heir is not asked whether it has the end of the WAL",
    function=handover._has,
    text="server.received_lsn >= end",
    instead="server.received_lsn >= 0",
)
