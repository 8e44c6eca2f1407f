from failover_agent.shell.lease_desk import LeaseDesk
from tests.sim.planted import Plant

PLANT = Plant(
    rule="N7",
    wrong="the lease is believed as long as nobody says otherwise, whatever the clock shows",
    function=LeaseDesk.valid,
    text="mine is not None and self.clock.now() < mine.valid_until",
    instead="mine is not None",
)
