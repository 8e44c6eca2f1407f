from failover_agent.core import fencing
from tests.sim.planted import Plant

PLANT = Plant(
    rule="fencing",
    wrong="a node is promoted although the policy is to wait for a fence that nobody saw",
    function=fencing.waited_for,
    text='if fencing.when_unanswered == "wait" or',
    instead="if",
)
