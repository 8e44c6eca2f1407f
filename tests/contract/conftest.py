"""What several suites of one room share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from failover_agent.adapters import cut, gate

from .gate_net import Net, gated_net

NFT_S = 60.0  # an agent gives nft less; here nobody's writes wait for it, and a busy machine may stand still


@pytest.fixture(autouse=True)
def patient_with_nft(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (cut, gate):
        monkeypatch.setattr(module, "NFT_TIMEOUT_S", NFT_S)


@pytest.fixture
def net() -> Iterator[Net]:
    with gated_net() as made:
        yield made
