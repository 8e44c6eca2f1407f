from failover_agent.core import seals
from tests.sim.planted import Plant

PLANT = Plant(
    rule="S1",
    wrong="of the sealed members the one with least WAL claims",
    function=seals.claimants,
    text="b.position <= a.position",
    instead="b.position >= a.position",
)
