"""Errors in the words and shapes of AWS' four wire protocols, so that any SDK understands them.

Shapes: botocore's `ec2`, `query`, `json` and `rest-xml` parsers are the reference (documented).
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from ec2_lab.door.calls import Call


class Refused(Exception):
    """The call is turned down, with an AWS error code. The text is AWS' own where we know it."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


@dataclass(slots=True)
class Answer:
    """What goes back to the caller."""

    status: str  # "200 OK"
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    code: str = ""  # the AWS error code, empty on success
    fault: str = ""  # what was done to it on purpose

    @property
    def succeeded(self) -> bool:
        return self.status.startswith("2")


def refusal(call: Call, refused: Refused) -> Answer:
    """The error as the caller's protocol writes it."""
    request_id = str(uuid.uuid4())
    headers = [("x-amzn-RequestId", request_id)]
    code, text = escape(refused.code), escape(refused.message)
    if call.protocol == "json":
        headers += [("Content-Type", "application/x-amz-json-1.0"), ("x-amzn-ErrorType", refused.code)]
        body = json.dumps({"__type": refused.code, "message": refused.message})
    elif call.protocol == "ec2":
        body = (
            f"<Response><Errors><Error><Code>{code}</Code><Message>{text}</Message></Error></Errors>"
            f"<RequestID>{request_id}</RequestID></Response>"
        )
    elif call.protocol == "s3":
        body = (
            f"<Error><Code>{code}</Code><Message>{text}</Message><RequestId>{request_id}</RequestId></Error>"
        )
    else:
        blame = "Receiver" if refused.status >= 500 else "Sender"
        body = (
            f"<ErrorResponse><Error><Type>{blame}</Type><Code>{code}</Code><Message>{text}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    if call.protocol != "json":
        headers.append(("Content-Type", "text/xml;charset=UTF-8"))
        body = '<?xml version="1.0" encoding="UTF-8"?>\n' + body
    content = body.encode()
    headers.append(("Content-Length", str(len(content))))
    return Answer(f"{refused.status} {refused.code}", headers, content, code=refused.code)
