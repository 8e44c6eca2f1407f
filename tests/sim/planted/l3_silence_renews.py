from failover_agent.shell import lease_desk
from tests.sim.planted import Plant

PLANT = Plant(
    rule="L3",
    wrong="a renewal without an answer is taken for one that landed",
    function=lease_desk.has_landed,
    text="isinstance(outcome, Landed)",
    instead="isinstance(outcome, Landed | Unknown)",
)
