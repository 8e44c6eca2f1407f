from failover_agent.shell import handover
from tests.sim.planted import Plant

PLANT = Plant(
    rule="N3",
    wrong="the lease is handed over while PostgreSQL runs",
    function=handover.hand_over,
    text="body.ports.postgres.stop(STOP_S)",
    instead="pass",
)
