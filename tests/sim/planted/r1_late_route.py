from failover_agent.shell.routes import Router
from tests.sim.planted import Plant

PLANT = Plant(
    rule="R1",
    wrong="a deposed holder sends a route that it decided on while it held the lease",
    function=Router._point,
    text="if mine is None or mine.epoch != epoch",
    instead="if False",
)
