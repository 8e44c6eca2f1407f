from failover_agent.shell.gatekeeper import Gatekeeper
from tests.sim.planted import Plant

PLANT = Plant(
    rule="G7",
    wrong="the sockets of the earlier role are left when the gate opens in another",
    function=Gatekeeper.clear,
    text="self._gate.end_sessions()",
    instead="0",
)
