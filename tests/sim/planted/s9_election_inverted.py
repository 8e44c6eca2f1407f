from failover_agent.core import election
from tests.sim.planted import Plant

PLANT = Plant(
    rule="S9",
    wrong="the node with least WAL is chosen",
    function=election._rank,
    text="-on_the_line(c.server, lease)",
    instead="on_the_line(c.server, lease)",
)
