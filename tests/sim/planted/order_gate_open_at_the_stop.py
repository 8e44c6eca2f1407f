from failover_agent.shell import handover
from tests.sim.planted import Plant

PLANT = Plant(
    rule="order",
    wrong="a primary that hands over is stopped before its gate is shut",
    function=handover.hand_over,
    text="body.keeper.dismiss()",
    instead="pass",
)
