from failover_agent.core import promises
from tests.sim.planted import Plant

PLANT = Plant(
    rule="P2",
    wrong="the holder asks one node too few of those who may claim",
    function=promises.to_ask,
    text="under_way.may_claim} - {me}))",
    instead="under_way.may_claim} - {me}))[1:]",
)
