from failover_agent.core import suspicion
from tests.sim.planted import Plant

PLANT = Plant(
    rule="F6",
    wrong="members suspect by their own timings alone, whatever the holder keeps its gate open by",
    function=suspicion.suspects_after_s,
    text="max(own_s, item.suspect_after_s)",
    instead="own_s",
)
