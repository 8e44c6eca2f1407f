from failover_agent.core import claiming
from tests.sim.planted import Plant

PLANT = Plant(
    rule="S1",
    wrong="a lease that has expired is claimed without seals, by the election alone",
    function=claiming.why_not,
    text="if seals_decide(s):",
    instead="if seals_decide(s) and not is_expired(s.lease, s.now):",
)
