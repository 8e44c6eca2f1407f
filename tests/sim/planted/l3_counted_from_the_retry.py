from failover_agent.shell.keeper import Keeper
from tests.sim.planted import Plant

PLANT = Plant(
    rule="L3",
    wrong="validity counts from the last sending of the token, not from the first",
    function=Keeper._landed,
    text="valid_until(pending.first_sent,",
    instead="valid_until(max(pending.first_sent, self._retry_at),",
)
