from failover_agent.shell.lease_desk import LeaseDesk
from tests.sim.planted import Plant

PLANT = Plant(
    rule="calm",
    wrong="one answer that does not come ends the lease",
    function=LeaseDesk.send,
    text='self.journal.trouble("the lease\'s renewal", outcome)',
    instead='self.drop("no answer")',
)
