from failover_agent.core import election
from tests.sim.planted import Plant

PLANT = Plant(
    rule="S9",
    wrong="a node may claim however far it lags",
    function=election.unfit,
    text="lag > lag_limit_bytes",
    instead="False",
)
