from failover_agent.core import seals
from tests.sim.planted import Plant

PLANT = Plant(
    rule="F6",
    wrong="the gate follows the lease alone, while members may claim by the fast path",
    function=seals.unchallenged_until,
    text="return gate_until(",
    instead="return valid_until or gate_until(",
)
