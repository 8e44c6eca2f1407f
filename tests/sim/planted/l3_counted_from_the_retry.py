from failover_agent.shell.lease_desk import LeaseDesk
from tests.sim.planted import Plant

PLANT = Plant(
    rule="L3",
    wrong="validity counts from the last sending of the token, not from the first",
    function=LeaseDesk.send,
    text="pending = self.pending\n",
    instead="pending = self.pending and replace(self.pending, first_sent=self.clock.now())\n",
)
