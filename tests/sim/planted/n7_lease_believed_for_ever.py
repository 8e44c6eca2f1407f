from failover_agent.shell.keeper import Keeper
from tests.sim.planted import Plant

PLANT = Plant(
    rule="N7",
    wrong="the lease is believed as long as nobody says otherwise, whatever the clock shows",
    function=Keeper.mine,
    text="mine is not None and self._clock.now() < mine.valid_until",
    instead="mine is not None",
)
