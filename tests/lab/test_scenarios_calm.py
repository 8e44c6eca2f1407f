"""What must not move a primary. The short forms: `./run measure --calm` does it all, for as long as promised.

Never a time: on a busy machine a gap between writes may have any length and be nobody's doing.
"""

from __future__ import annotations

import pytest

from rehearsal.calm import disturb
from rehearsal.steps import Stage

from .judgement import assert_kept

pytestmark = pytest.mark.lab

SHORT_S = {
    "agent_restarted": 10.0,
    "api_away": 20.0,  # over three times the ttl: the others' promises carry the primary
    "blips": 10.0,
    "nat_dead": 10.0,
}


@pytest.mark.parametrize("name", SHORT_S)
def test_a_disturbance_moves_no_primary_and_loses_no_write(stage: Stage, name: str) -> None:
    """A machine that stands still itself, for longer than a primary may be silent, makes a failover right.

    So the disturbance gets a second try. What it causes by itself, it causes again.
    """
    calm = disturb(stage, name, SHORT_S[name])
    assert_kept(calm)
    if calm.failovers:
        print(f"once more: {calm}")
        calm = disturb(stage, name, SHORT_S[name])

    assert_kept(calm)
    assert calm.failovers == 0, calm
