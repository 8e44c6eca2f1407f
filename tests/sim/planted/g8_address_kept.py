from failover_agent.shell import handover
from tests.sim.planted import Plant

PLANT = Plant(
    rule="G8",
    wrong="a primary that hands over keeps the address while it stops",
    function=handover.hand_over,
    text="body.unbind_vips()",
    instead="pass",
)
