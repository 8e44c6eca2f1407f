from failover_agent.core import election
from tests.sim.planted import Plant

PLANT = Plant(
    rule="S9",
    wrong="the node with least WAL is chosen",
    function=election._rank,
    text="-server.received_lsn",
    instead="server.received_lsn",
)
