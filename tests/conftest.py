"""What holds for every test of the project."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is no defect: an example may take as long as it takes, and a failing one can be replayed.
settings.register_profile("primacy", deadline=None, print_blob=True)
settings.load_profile("primacy")
