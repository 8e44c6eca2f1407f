"""What is wrong with the API on purpose. Only callers inside the VPC notice; the controller never does.

Invariant: with no fault on, nothing here delays, refuses or changes a call.

Simulated:
- [documented (it happens), assumed (its length)] an answer that is slow: judged after the delay, so a
  call that its caller has given up takes effect all the same <AWS builders' library: timeouts and retries>
- [documented] too many calls: RequestLimitExceeded, 503 by EC2, 400 by DynamoDB <EC2 API: request
  throttling; DynamoDB: error handling>
- [documented (it happens), assumed (always as old as told)] EC2's Describe answers are old <EC2 API:
  eventual consistency>
- [documented (text), assumed (only routes)] CreateRoute and ReplaceRoute are answered before they are in
  force <EC2 API: eventual consistency>
- [documented (it happens)] a call takes effect and its answer is lost <EC2 API: ensuring idempotency>
- [not simulated] eventually consistent reads of DynamoDB: every read is consistent
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from ec2_lab.door.answers import Refused
from ec2_lab.door.calls import Call
from ec2_lab.door.throttle import Bucket
from ec2_lab.errors import LabError

SLOW, THROTTLE, STALE, LATE_ROUTES, LOST_ANSWERS = KINDS = (
    "slow",
    "throttle",
    "stale",
    "late-routes",
    "lost-answers",
)
ROUTE_CHANGES = ("CreateRoute", "ReplaceRoute")


class ApiFaults:
    """Which faults are on. `now` is a monotonic clock."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._changed = threading.Condition()
        self._on: dict[str, float] = {}
        self._bucket = Bucket(1, 1, now())

    def set(self, kind: str, value: float) -> None:
        """Turn a fault on, or with 0 off; who waits for a slow answer feels the change at once."""
        if kind not in KINDS:
            raise LabError(f"there is no API fault {kind!r}", hint=f"there are: {', '.join(KINDS)}")
        if not (math.isfinite(value) and value >= 0):
            raise LabError(f"{kind} cannot be {value:g}", hint="a number from 0, which ends it")
        with self._changed:
            self._on.pop(kind, None)
            if value:
                self._on[kind] = value
            if kind == THROTTLE:
                self._bucket = Bucket(max(value, 1), value, self._now())
            self._changed.notify_all()

    def shown(self) -> dict[str, float]:
        with self._changed:
            return dict(self._on)

    def now(self) -> float:
        return self._now()

    def value(self, kind: str) -> float:
        with self._changed:
            return self._on.get(kind, 0.0)

    def hits(self, kind: str, call: Call) -> float:
        """How much of the fault this call suffers; 0 for none."""
        return 0.0 if call.from_controller else self.value(kind)

    def before(self, call: Call) -> None:
        """Delay the call, or refuse it as one too many. The lock must not be held."""
        if call.from_controller:
            return
        began = self._now()
        with self._changed:
            while (left_s := began + self._on.get(SLOW, 0.0) - self._now()) > 0:
                self._changed.wait(left_s)
            if THROTTLE in self._on and not self._bucket.take(self._now()):
                status = 400 if call.service == "dynamodb" else 503
                raise Refused("RequestLimitExceeded", "Request limit exceeded.", status)
