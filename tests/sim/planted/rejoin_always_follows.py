from failover_agent.core import rejoin
from tests.sim.planted import Plant

PLANT = Plant(
    rule="rejoin",
    wrong="a node that diverged follows instead of being rewound",
    function=rejoin.choose_way,
    text="return Way.FOLLOW if my_end <= shared_until else Way.REWIND",
    instead="return Way.FOLLOW",
)
