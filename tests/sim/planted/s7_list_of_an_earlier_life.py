from tests.sim.planted import Plant
from tests.sim.postgres import SimPostgres

PLANT = Plant(
    rule="S7",
    wrong="a standby keeps the list of its life as a primary, and is promoted with it",
    function=SimPostgres.start_standby,
    text="self.written = NOBODY",
    instead="pass",
    also=Plant(
        "S7",
        "",
        SimPostgres.follow,
        "self.written = NOBODY",
        "pass",
        Plant("S7", "", SimPostgres.promote, "self._confirm_nobody_is_waited_for()", "pass"),
    ),
)
