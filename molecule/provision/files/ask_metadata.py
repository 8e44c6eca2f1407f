"""Ask the instance metadata who this is.

usage: ask_metadata.py              prints {"without_token": status, "instance_id", "role"}
       ask_metadata.py credentials  prints what the role's programs are given
"""

from __future__ import annotations

import http.client
import json
import sys

TIMEOUT_S = 5


def ask(path: str, header: dict[str, str], method: str = "GET") -> tuple[int, str]:
    """Status and text."""
    connection = http.client.HTTPConnection("169.254.169.254", timeout=TIMEOUT_S)
    connection.request(method, f"/latest/{path}", headers=header)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


_, token = ask("api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, "PUT")
known = {"X-aws-ec2-metadata-token": token}
found, role = ask("meta-data/iam/security-credentials/", known)
if sys.argv[1:] == ["credentials"]:
    print(ask(f"meta-data/iam/security-credentials/{role}", known)[1])
else:
    without_token, _ = ask("meta-data/instance-id", {})
    _, instance_id = ask("meta-data/instance-id", known)
    said = {"instance_id": instance_id, "role": role if found == 200 else ""}
    print(json.dumps({"without_token": without_token, **said}))
