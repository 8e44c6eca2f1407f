from tests.sim.planted import Plant
from tests.support import memory

PLANT = Plant(
    rule="L2",
    wrong="a write of the lease is taken whatever token stands there",
    function=memory._holds,
    text="(current.epoch, current.token) == (condition.epoch, condition.token)",
    instead="current.epoch == condition.epoch",
)
