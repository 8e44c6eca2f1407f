"""What this node does next.

Everything that can change a node's course is in this folder; nothing here touches the
world. Rules are tried from the top and the first that holds wins, so a rule may rely on
every rule above it having failed.

Invariant: no rule below `fence` can be reached by a node that might be writing without a
lease it can prove, and only rules that name `the_lease_is_mine` promote, start a primary
or serve. tests/unit/core/test_rules_exhaustive.py enumerates this.
"""

from __future__ import annotations

from failover_agent.core.rules.following import FOLLOWING
from failover_agent.core.rules.guarding import GUARDING
from failover_agent.core.rules.holding import HOLDING
from failover_agent.core.rules.parts import Decision, Fact
from failover_agent.core.rules.vacancy import VACANCY
from failover_agent.core.snapshot import Snapshot

RULES = (*GUARDING, *HOLDING, *VACANCY, *FOLLOWING)


def decide(seen: Snapshot) -> Decision:
    """Choose the next step. Same snapshot, same decision, on every node."""
    known: dict[Fact, bool] = {}  # facts are pure, and many rules ask the same
    for rule in RULES:
        for fact in rule.when:
            if fact not in known:
                known[fact] = fact(seen)
            if not known[fact]:
                break
        else:
            detail = rule.detail(seen)
            because = f"{rule.because}: {detail}" if detail else rule.because
            return Decision(rule.name, rule.then(seen), because)
    raise AssertionError("the last rule must hold for every snapshot")
