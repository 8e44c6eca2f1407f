from failover_agent.shell.observe import Observer
from tests.sim.planted import Plant

PLANT = Plant(
    rule="L4",
    wrong="a token first seen after a silence counts from before the silence",
    function=Observer._read,
    text="and same else received",
    instead="and same else (before.read_at if before is not None else received)",
)
