from failover_agent.core import promises
from tests.sim.planted import Plant

PLANT = Plant(
    rule="P1",
    wrong="a promise was given and forbids nothing",
    function=promises.binds,
    text="given is not None and now < given.until",
    instead="False",
)
