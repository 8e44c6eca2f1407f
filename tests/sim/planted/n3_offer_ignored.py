from failover_agent.core import suspicion
from tests.sim.planted import Plant

PLANT = Plant(
    rule="N3",
    wrong="a lease that was offered to one node is free for all",
    function=suspicion.is_free,
    text='seen.item.offered_to in ("", me)',
    instead="True",
)
