from failover_agent.core import lease_writes
from tests.sim.planted import Plant

PLANT = Plant(
    rule="S2",
    wrong="a claim keeps the other members of the sync set, who need not have what the claimant has",
    function=lease_writes.claim,
    text="sync=SyncSet(version=old.sync.version + 1)",
    instead=(
        "sync=SyncSet(kept := tuple(m for m in old.sync.members if m != holder.name),"
        " min(old.sync.k, len(kept)), old.sync.version + 1)"
    ),
    also=Plant(
        "S2", "", lease_writes.claimants, 'mode == "async"', 'mode == "async" or (before and not members)'
    ),
)
