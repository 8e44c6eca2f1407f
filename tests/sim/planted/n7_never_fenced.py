from failover_agent.core import facts
from tests.sim.planted import Plant

PLANT = Plant(
    rule="N7",
    wrong="a primary that lost its lease is left running",
    function=facts.i_might_be_writing,
    text="return _may_write(s.server)",
    instead="return False",
)
