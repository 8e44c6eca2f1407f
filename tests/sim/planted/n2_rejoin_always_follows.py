from failover_agent.core import other_facts
from tests.sim.planted import Plant

PLANT = Plant(
    rule="N2",
    wrong="a node whose WAL diverged follows without a rewind",
    function=other_facts.my_wal_has_diverged,
    text="return choose_way(",
    instead="return False and choose_way(",
)
