from failover_agent.core import facts
from tests.sim.planted import Plant

PLANT = Plant(
    rule="S9",
    wrong="a node claims before it has heard the others",
    function=facts.unheard,
    text="s.now >= free_since(s.lease, s.me.name) + s.timings.poll_s",
    instead="True",
)
