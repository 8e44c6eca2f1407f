from failover_agent.shell.agent import Agent
from tests.sim.planted import Plant

PLANT = Plant(
    rule="N5",
    wrong="the slot for destructive steps is granted to all at once",
    function=Agent.grant_rejoin,
    text='keeper not in ("", name) and now < until',
    instead="False",
)
