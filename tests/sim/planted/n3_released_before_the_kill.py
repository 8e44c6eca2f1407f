from failover_agent.shell import handover
from tests.sim.planted import Plant

PLANT = Plant(
    rule="N3",
    wrong="the lease is released while backends of a dead postmaster live",
    function=handover.recover_primary,
    text="body.ports.postgres.kill()",
    instead="pass",
)
