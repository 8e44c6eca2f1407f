from failover_agent.shell.sealer import Sealer
from tests.sim.planted import Plant

PLANT = Plant(
    rule="F3",
    wrong="a next life of the agent does not apply the seal again",
    function=Sealer.begin,
    text="_from_note(note) if note is not None else None",
    instead="None",
)
