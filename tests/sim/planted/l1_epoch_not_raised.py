from failover_agent.core import lease_writes
from tests.sim.planted import Plant

PLANT = Plant(
    rule="L1",
    wrong="a claim keeps the epoch",
    function=lease_writes.claim,
    text="epoch=old.epoch + 1",
    instead="epoch=old.epoch",
)
