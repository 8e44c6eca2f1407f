"""The image every host of the lab starts from: a Debian cloud image in the small.

`build` makes it once per content hash; all labs and hosts share it read-only.
"""

from __future__ import annotations

from ec2_lab.image.builder import build

__all__ = ["build"]
