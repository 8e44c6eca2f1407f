from failover_agent.shell import handover
from tests.sim.planted import Plant

PLANT = Plant(
    rule="G8",
    wrong="a primary that hands over stops PostgreSQL behind an open gate",
    function=handover.hand_over,
    text="body.keeper.dismiss()",
    instead="pass",
)
