"""The region's API: moto's services behind one door of ours.

The door puts right what moto gets wrong on our way, makes every call atomic, and tells the
engine after each change so that what the API states becomes true of real machines.
"""

from __future__ import annotations

import os

# moto reads these while it is being imported, so they stand before any of its modules.
# Its own list of AMIs costs 1.3 s and is of no use: the region registers the one it has.
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")

REGION = "eu-central-1"
ZONES = ("eu-central-1a", "eu-central-1b", "eu-central-1c")
ACCOUNT = "123456789012"
