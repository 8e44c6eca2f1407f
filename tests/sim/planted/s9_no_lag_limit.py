from failover_agent.core import election
from tests.sim.planted import Plant

PLANT = Plant(
    rule="S9",
    wrong="a standby that lags beyond the limit may claim",
    function=election.unfit,
    text="if lag > lag_limit_bytes:",
    instead="if lag < 0:",
)
