from failover_agent.shell.execute import Executor
from tests.sim.planted import Plant

PLANT = Plant(
    rule="S2",
    wrong="the gate opens before anybody vouches for what is acknowledged",
    function=Executor._may_open,
    text='return is_open or progress.in_place or mine.item.mode == "async"',
    instead="return True",
)
