from failover_agent.shell.agent import Agent
from failover_agent.shell.keeper import Keeper
from tests.sim.planted import Plant

PLANT = Plant(
    rule="P1",
    wrong="a member promises while its own seal stands and its claim is under way, and acts on it",
    function=Keeper.promise,
    text="desk.mine is None and desk.pending is not None",
    instead="False",
    also=Plant("P1", "", Agent.promise, "self.body.sealer.sealed_version()", "(0, 0)"),
)
