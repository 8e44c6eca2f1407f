from failover_agent.core import quorum
from tests.sim.planted import Plant

PLANT = Plant(
    rule="S3",
    wrong="PostgreSQL waits for less while the item still counts on more",
    function=quorum.next_step,
    text="return WriteItem(laxer(at.sync, at.shown, at.wanted))",
    instead="return SetPostgres(at.wanted)",
)
