from failover_agent.shell.execute import Executor
from tests.sim.planted import Plant

PLANT = Plant(
    rule="N2",
    wrong="a promotion is not noted before PostgreSQL is told",
    function=Executor._take_over,
    text="body.promotions.intend(action.epoch, timeline)",
    instead="pass",
)
