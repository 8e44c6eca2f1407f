from failover_agent.core import promises
from tests.sim.planted import Plant

PLANT = Plant(
    rule="P1",
    wrong="the holder counts on a promise for longer than it binds",
    function=promises.promised_until,
    text="asked_at + ttl_s - margin_s",
    instead="asked_at + 2 * ttl_s",
)
