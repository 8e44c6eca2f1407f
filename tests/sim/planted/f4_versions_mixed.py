from failover_agent.core import seals
from failover_agent.shell.campaign import _which
from tests.sim.planted import Plant

PLANT = Plant(
    rule="F4",
    wrong="seals of an earlier version of the sync set are counted",
    function=seals.counted,
    text="(a.seal.cluster, a.seal.epoch, a.seal.version) == (item.cluster, item.epoch, item.sync.version)",
    instead="(a.seal.cluster, a.seal.epoch) == (item.cluster, item.epoch)",
    also=Plant("F4", "", _which, "item.sync.version, item.token", "0, ''"),
)
