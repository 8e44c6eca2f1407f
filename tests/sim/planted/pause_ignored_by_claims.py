from failover_agent.core import pausing
from tests.sim.planted import Plant

PLANT = Plant(
    rule="pause",
    wrong="a lease that ended is claimed while failover is paused",
    function=pausing.a_pause_lets_me_claim,
    text="return not item.paused or",
    instead="return True or",
)
