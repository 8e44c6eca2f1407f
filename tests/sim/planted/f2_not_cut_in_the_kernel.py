from tests.sim.cut import Cutting
from tests.sim.planted import Plant

PLANT = Plant(
    rule="F2",
    wrong="a seal only empties primary_conninfo: the receiver streams on for a while",
    function=Cutting.keep_cut,
    text="self.refused = self.dropped = name",
    instead="self.refused = name",
    also=Plant("F2", "", Cutting._end_receiver, "self.streaming = False", "pass"),
)
