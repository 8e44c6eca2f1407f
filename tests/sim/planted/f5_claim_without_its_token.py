from failover_agent.shell.keeper import Keeper
from tests.sim.planted import Plant

PLANT = Plant(
    rule="F5",
    wrong="a claim names whatever version and token stand when it is sent",
    function=Keeper.claim,
    text="Version(old.epoch, old.token)",
    instead='Version(old.epoch, getattr(desk.store.read(), "token", old.token))',
)
