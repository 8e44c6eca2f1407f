from failover_agent.adapters.gate import NftGate
from tests.sim.planted import Plant

PLANT = Plant(
    rule="G4",
    wrong="the gate is bounded by a timer alone, which a paused host stops",
    function=NftGate._put,
    text="self._clock.wall() + left_s",
    instead="self._clock.wall() + 3600",
)
