from failover_agent.shell.routes import Router
from tests.sim.planted import Plant

PLANT = Plant(
    rule="R1",
    wrong="a holder that routed once never looks at the tables again",
    function=Router._reconcile,
    text="if not epoch:",
    instead="if not epoch or epoch == self._routed_epoch:",
)
