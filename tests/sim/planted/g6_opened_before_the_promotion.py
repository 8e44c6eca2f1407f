from failover_agent.shell.execute import Executor
from tests.sim.planted import Plant

PLANT = Plant(
    rule="G6",
    wrong="the gate opens for clients before PostgreSQL is promoted",
    function=Executor._take_over,
    text="body.keeper.prepare(action.epoch)",
    instead="self._open(action.epoch)",
)
