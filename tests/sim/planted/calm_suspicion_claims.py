from failover_agent.core import suspicion
from tests.sim.planted import Plant

PLANT = Plant(
    rule="calm",
    wrong="a lease is taken as soon as a beat is late",
    function=suspicion.expires_at,
    text="seen.item.ttl_s * (1 + CLOCK_RATE_ERROR)",
    instead="seen.item.ttl_s / 6",
)
