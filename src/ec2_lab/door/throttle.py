"""How often an account may call EC2: a token bucket per action, as AWS publishes them.

Simulated:
- [documented] token buckets per action: 100 calls, then 20/s for what reads, 50 then 5/s for what
  changes, and the exceptions in `BUCKETS` <EC2 API: request throttling>
- [documented] a list without filter and page size has a smaller bucket: 50, then 10/s <EC2 API: request
  throttling>
- [assumed] a list by ids counts as filtered
- [documented] one account: all callers share the buckets <EC2 API: request throttling>
- [not simulated] resource token buckets, and limits of other services
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ec2_lab.door.answers import Refused
from ec2_lab.door.calls import Call

READING, CHANGING, UNFILTERED = (100.0, 20.0), (50.0, 5.0), (50.0, 10.0)  # size, refill per second
BUCKETS = {
    "ModifyNetworkInterfaceAttribute": (100.0, 5.0),
    "RunInstances": (5.0, 2.0),
    "StartInstances": (5.0, 2.0),
    "TerminateInstances": (100.0, 5.0),
    "CreateVpcEndpoint": (4.0, 0.3),
    "ModifyVpcEndpoint": (4.0, 0.3),
    "DeleteVpcEndpoints": (4.0, 0.3),
}
_LISTS = (
    "DescribeInstances",
    "DescribeInstanceStatus",
    "DescribeNetworkInterfaces",
    "DescribeVolumes",
)
_NARROWED = ("Filter.", "InstanceId.", "NetworkInterfaceId.", "VolumeId.")


@dataclass(slots=True)
class Bucket:
    """Tokens that grow back. Full at the start."""

    size: float
    per_s: float
    at: float  # when `tokens` was true
    tokens: float = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = self.size

    def take(self, now: float) -> bool:
        self.tokens = min(self.size, self.tokens + (now - self.at) * self.per_s)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Throttle:
    """The account's buckets. Under the lock; `now` is a monotonic clock."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._buckets: dict[tuple[str, bool], Bucket] = {}

    def take(self, call: Call) -> None:
        """Refuse the call when its bucket is empty. Raises Refused."""
        if call.service != "ec2":
            return
        bare = call.action in _LISTS and not _is_narrowed(call)
        key = (call.action, bare)
        now = self._now()
        if key not in self._buckets:
            self._buckets[key] = Bucket(*_limit(call.action, bare), at=now)
        if not self._buckets[key].take(now):
            raise Refused("RequestLimitExceeded", "Request limit exceeded.", 503)


def _limit(action: str, bare: bool) -> tuple[float, float]:
    if bare:
        return UNFILTERED
    return BUCKETS.get(action) or (READING if action.startswith(("Describe", "Get")) else CHANGING)


def _is_narrowed(call: Call) -> bool:
    return "MaxResults" in call.params or any(key.startswith(_NARROWED) for key in call.params)
