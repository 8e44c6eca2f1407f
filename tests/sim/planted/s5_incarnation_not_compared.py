from failover_agent.core import seals
from failover_agent.shell.synchroniser import Synchroniser
from tests.sim.planted import Plant

PLANT = Plant(
    rule="S5",
    wrong="a seal speaks for another data directory than the one in the sync set",
    function=seals.counted,
    text="a.seal.incarnation == known.get(a.name, a.seal.incarnation)",
    instead="known is not None",
    also=Plant("S5", "", Synchroniser._fits, "report.incarnation != known", "False"),
)
