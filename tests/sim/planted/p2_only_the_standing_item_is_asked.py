from failover_agent.core import promises
from tests.sim.planted import Plant

PLANT = Plant(
    rule="P2",
    wrong="the holder does not ask whom its write under way lets claim",
    function=promises.to_ask,
    text=", *under_way.may_claim}",
    instead="}",
)
