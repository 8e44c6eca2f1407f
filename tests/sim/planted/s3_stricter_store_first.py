from failover_agent.core import quorum
from tests.sim.planted import Plant

PLANT = Plant(
    rule="S3",
    wrong="the item counts on more before PostgreSQL waits for it",
    function=quorum.next_step,
    text="return SetPostgres(at.wanted)",
    instead=(
        "return SetPostgres(at.wanted) if of_item(at.sync) == at.wanted"
        " else WriteItem(SyncSet(at.wanted.members, at.wanted.k, at.sync.version + 1))"
    ),
)
