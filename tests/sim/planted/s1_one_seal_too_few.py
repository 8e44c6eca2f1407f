from failover_agent.core import quorum
from tests.sim.planted import Plant

PLANT = Plant(
    rule="S1",
    wrong="a claim needs one seal fewer than |S| - k + 1",
    function=quorum.seals_needed,
    text="len(sync.members) - sync.k + 1",
    instead="max(1, len(sync.members) - sync.k)",
)
