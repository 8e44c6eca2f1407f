from failover_agent.shell.promotions import Promotions
from tests.sim.planted import Plant

PLANT = Plant(
    rule="N2",
    wrong="a node whose own promotion was abandoned follows as if it were in line",
    function=Promotions.judge,
    text="own = self._own()",
    instead="own = None",
)
