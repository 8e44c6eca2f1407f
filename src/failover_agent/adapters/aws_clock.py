"""Signing by AWS's clock where this host's is wrong (PROTOCOL L7).

AWS refuses a signature whose time differs from its own by more than some minutes, and then a healthy
primary could not renew its lease. Every answer, a refusal too, carries AWS's time in its Date header:
from it the offset is learnt, and the next request is signed with it. Nothing else uses it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import botocore.auth

# What a Date header can be off by itself: whole seconds, and the answer's way. Far below what AWS refuses.
IGNORED_S = 30.0
_FORM = "%Y%m%dT%H%M%SZ"  # of SigV4


class ServerClock:
    """How far AWS's clock is ahead of this host's, as the last answer said."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self.offset_s = 0.0
        self.heard_s: float | None = None  # the same as heard, small ones too; None before any answer

    def learn(self, headers: Mapping[str, str]) -> None:
        try:
            theirs = parsedate_to_datetime(headers["date"])
        except (KeyError, ValueError, TypeError):
            return  # no answer of AWS: it says nothing about time
        if theirs.tzinfo is None:
            theirs = theirs.replace(tzinfo=UTC)
        self.heard_s = offset_s = theirs.timestamp() - self._wall()
        self.offset_s = offset_s if abs(offset_s) > IGNORED_S else 0.0

    def serve(self, client: Any) -> None:  # botocore makes its client classes at run time
        """Sign what `client` asks by this clock, and learn from every answer it gets."""

        def heard(response_dict: Mapping[str, Any], **_: object) -> None:
            self.learn({name.lower(): value for name, value in response_dict["headers"].items()})

        client.meta.events.register("choose-signer", lambda **_: SIGNATURE)
        client.meta.events.register("before-parse", heard)

    def signer(self) -> type[botocore.auth.SigV4Auth]:
        """SigV4 by this clock."""
        clock = self

        class ByServerClock(botocore.auth.SigV4Auth):
            def _modify_request_before_signing(self, request: Any) -> None:
                if clock.offset_s:
                    now = datetime.strptime(request.context["timestamp"], _FORM).replace(tzinfo=UTC)
                    request.context["timestamp"] = (now + timedelta(seconds=clock.offset_s)).strftime(_FORM)
                super()._modify_request_before_signing(request)  # type: ignore[misc]  # not in the stubs

        return ByServerClock


SERVER_CLOCK = ServerClock()
SIGNATURE = "primacy-v4"
botocore.auth.AUTH_TYPE_MAPS[SIGNATURE] = SERVER_CLOCK.signer()
