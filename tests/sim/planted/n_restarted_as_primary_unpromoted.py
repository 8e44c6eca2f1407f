from failover_agent.core import facts
from tests.sim.planted import Plant

PLANT = Plant(
    rule="N2",
    wrong="who holds the lease and is stopped starts as primary without a promotion",
    function=facts.i_was_primary_in_this_epoch,
    text="s.mine is not None and s.mine.was_primary",
    instead="s.mine is not None",
)
