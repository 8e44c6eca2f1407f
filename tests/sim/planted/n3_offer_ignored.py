from failover_agent.core import claiming, suspicion
from tests.sim.planted import Plant

PLANT = Plant(
    rule="N3",
    wrong="a lease that was offered to one node is taken by whoever asks first",
    function=suspicion.is_free,
    text='seen.item.offered_to in ("", me)',
    instead="True",
    also=Plant(
        "N3",
        "",
        claiming.why_not,
        "chosen.winner == s.me.name and not waits",
        "(item.offered_to or chosen.winner == s.me.name) and not waits",
    ),
)
