from failover_agent.shell.sealer import Sealer
from tests.sim.planted import Plant

PLANT = Plant(
    rule="F4",
    wrong="a seal ends a beat after the primary was missed",
    function=Sealer.settle,
    text="ends(self._seal, self._seen.item)",
    instead=(
        "(ends(self._seal, self._seen.item) or self._clock.now() - self._seen.token_seen_at"
        " > self._timings.suspect_after_s + self._timings.beat_s)"
    ),
)
