from failover_agent.core import promises
from tests.sim.planted import Plant

PLANT = Plant(
    rule="P1",
    wrong="a member whose agent was restarted votes and seals at once, whatever it promised",
    function=promises.is_fresh_start,
    text="return now < ",
    instead="return False and now < ",
)
