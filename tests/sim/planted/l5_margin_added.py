from failover_agent.core import suspicion
from tests.sim.planted import Plant

PLANT = Plant(
    rule="L5",
    wrong="the margin is added to the lease where it must be taken off",
    function=suspicion.valid_until,
    text="- margin_s",
    instead="+ margin_s",
)
