"""What holds for every test of the project."""

from __future__ import annotations

import pytest
from hypothesis import settings

from .support.unsafe import Unsafe

# A busy machine is no defect: an example may take as long as it takes, and a failing one can be replayed.
settings.register_profile("primacy", deadline=None, print_blob=True)
settings.load_profile("primacy")

# `./run test` asks once more what failed with pytest's own status, 1. Not this.
UNSAFE_STATUS = 70
_unsafe = pytest.StashKey[bool]()


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if call.excinfo is not None and call.excinfo.errisinstance(Unsafe):
        item.session.stash[_unsafe] = True


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.stash.get(_unsafe, False):
        session.exitstatus = UNSAFE_STATUS
