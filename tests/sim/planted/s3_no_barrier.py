from failover_agent.core import quorum
from tests.sim.planted import Plant

PLANT = Plant(
    rule="S3",
    wrong="the item counts on members that have not flushed what was acknowledged before",
    function=quorum._tighten,
    text="behind = behind_barrier(at.barrier, at.flushed)",
    instead="behind = ()",
)
