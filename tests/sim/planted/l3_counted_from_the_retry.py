from failover_agent.shell.lease_desk import LeaseDesk
from tests.sim.planted import Plant

PLANT = Plant(
    rule="L3",
    wrong="validity counts from the last sending of the token, not from the first",
    function=LeaseDesk._landed,
    text="until = self.ends(pending)",
    instead="until = self.ends(pending) + max(0.0, self.retry_at - pending.first_sent)",
)
