from failover_agent.core import facts
from tests.sim.planted import Plant

PLANT = Plant(
    rule="fence",
    wrong="a primary that lost the lease goes on running",
    function=facts.i_might_be_writing,
    text="return _may_write(s.server)",
    instead="return False",
)
