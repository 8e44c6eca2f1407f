from failover_agent.core import facts
from tests.sim.planted import Plant

PLANT = Plant(
    rule="N5",
    wrong="an interrupted rewind is taken for a whole data directory",
    function=facts.a_rewind_was_interrupted,
    text="s.half_rewound",
    instead="False",
)
