"""Clients of the AWS API, made for failover: warm, one attempt per call, no waiting for credentials."""

from __future__ import annotations

import threading
from typing import Any

import botocore.credentials
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from failover_agent.adapters.aws_clock import SERVER_CLOCK
from failover_agent.core.model import Unknown
from failover_agent.errors import (
    AgentError,
    ApiRefused,
    ApiThrottled,
    CredentialsMissing,
    Ec2Unreachable,
    RightMissing,
    StoreSchemaWrong,
    StoreTableMissing,
    StoreUnreachable,
)

# The metadata service hands out new credentials at least five minutes before the old ones end, botocore
# asks from fifteen minutes before: a look every half minute is always ahead.
REFRESH_EVERY_S = 30.0
METADATA_TIMEOUT_S = 2
METADATA_ATTEMPTS = 3

# Errors that say "try the same thing again" rather than "no".
_THROTTLED = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "RequestLimitExceeded",
        "ProvisionedThroughputExceededException",
        "RequestThrottled",
    }
)
_NO_RIGHT = frozenset({"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"})
_NO_IDENTITY = frozenset(
    {
        "AuthFailure",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "ExpiredTokenException",
        "ExpiredToken",
        "RequestExpired",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
    }
)
_NO_TABLE = "ResourceNotFoundException"


class CredentialsAhead(botocore.credentials.Credentials):
    """Credentials that a background thread keeps fresh, so that no renewal ever waits for them.

    The chain of the SDK finds them (environment, files, container, instance metadata).
    """

    def __init__(self) -> None:
        super().__init__("", "")
        self._frozen: botocore.credentials.ReadOnlyCredentials | None = None
        self.refresh()
        threading.Thread(target=self._keep_fresh, name="credentials", daemon=True).start()

    def get_frozen_credentials(self) -> botocore.credentials.ReadOnlyCredentials:
        if self._frozen is None:
            self.refresh()
        if self._frozen is None:
            raise NoCredentialsError
        return self._frozen

    def refresh(self) -> None:
        try:
            found = self._source().get_credentials()
            if found is not None:
                self._frozen = found.get_frozen_credentials()
        except (BotoCoreError, RuntimeError):  # the latter: expired, says a clock that may be wrong
            return  # the old ones serve as long as they last; a call that needs better says so itself

    def _source(self) -> botocore.session.Session:
        # A session of its own each time: one that found nothing would not look again.
        session = botocore.session.get_session()
        session.set_config_variable("metadata_service_timeout", METADATA_TIMEOUT_S)
        session.set_config_variable("metadata_service_num_attempts", METADATA_ATTEMPTS)
        return session

    def _keep_fresh(self) -> None:
        while True:
            threading.Event().wait(REFRESH_EVERY_S)
            self.refresh()


class _Ahead(botocore.credentials.CredentialResolver):
    def __init__(self, credentials: CredentialsAhead) -> None:
        super().__init__([])
        self._credentials = credentials

    def load_credentials(self) -> CredentialsAhead:
        return self._credentials


def client(
    service: str, *, region: str, endpoint_url: str, timeout_s: float, credentials: CredentialsAhead
) -> Any:  # botocore makes its client classes at run time
    """A thread-safe client with one attempt per call and sockets that are kept alive."""
    session = botocore.session.get_session()
    session.register_component("credential_provider", _Ahead(credentials))
    made = session.create_client(
        service,
        region_name=region,
        endpoint_url=endpoint_url or None,
        config=Config(
            connect_timeout=timeout_s,
            read_timeout=timeout_s,
            retries={"total_max_attempts": 1},
            tcp_keepalive=True,
            max_pool_connections=16,
            # One name for everybody: the account's own endpoint would be one more thing to resolve.
            account_id_endpoint_mode="disabled",
        ),
    )
    SERVER_CLOCK.serve(made)
    return made


def why(error: Exception, *, about: str) -> str:
    """One line for `Unknown`: what failed about what, and what to do where one can do something."""
    if isinstance(error, ClientError):
        code, text = code_of(error), _text_of(error)
        if code in _NO_RIGHT:
            return f"{about}: not allowed ({code}); give the instance role the right: {text}"
        if code == _NO_TABLE:
            return f"{about}: there is no such table; see 'The lease is missing' in docs/operations.md"
        if code in _THROTTLED:
            return f"{about}: throttled ({code})"
        return f"{about}: {code}: {text}"
    return f"{about}: {type(error).__name__}: {error}"


def unknown(error: Exception, *, about: str, action: str) -> Unknown:
    """What came instead of an answer to `action` (as IAM spells it), with its class."""
    return Unknown(why(error, about=about), cause=fault(error, about=about, action=action))


def fault(error: Exception, *, about: str, action: str) -> AgentError:
    """The same by class and fields."""
    if isinstance(error, ClientError):
        return _refused(error, about, action)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return CredentialsMissing.about(
            "this node's AWS credentials",
            value="none to be had",
            expected="those of the instance's role, from the metadata service",
            hint="Attach the instance profile that playbooks/provision.yml made.",
        )
    service, silent = _SILENT[action.partition(":")[0]]
    return silent.about(
        about,
        value=f"no answer ({type(error).__name__}: {error})",
        expected=f"an answer of {service}",
        hint=_WAY[service],
    )


_SILENT: dict[str, tuple[str, type[AgentError]]] = {
    "dynamodb": ("DynamoDB", StoreUnreachable),
    "ec2": ("EC2", Ec2Unreachable),
}
_WAY = {
    "DynamoDB": "Check this node's way out: the gateway endpoint in its subnet's route table, its security"
    " group. If every node says so, DynamoDB is away: wait.",
    "EC2": "Check the NAT instance of this zone, its source/destination check, this subnet's default route.",
}


def _refused(error: ClientError, about: str, action: str) -> AgentError:
    code, text = code_of(error), _text_of(error)
    if code in _NO_RIGHT:
        return RightMissing.about(
            action,
            value=f"not allowed ({code}) for {about}: {text}",
            expected="allowed to this node's role",
            hint="Run playbooks/provision.yml: it puts the role's policy back. Look for a Deny, too.",
        )
    if code == _NO_TABLE:
        return StoreTableMissing.about(
            about,
            value="there is no such table",
            expected="the table of `store` in agent.yml",
            hint="Restore it under the same name from its point-in-time recovery; see 'The lease is missing'"
            " in docs/operations.md. A new, empty table is not enough.",
        )
    if code == "ValidationException" and "key" in text.lower():
        return StoreSchemaWrong.about(
            about,
            value=text,
            expected="partition key cluster (S) and sort key item (S)",
            hint="The name in `store` is another program's table: name ours in primacy_store_table.",
        )
    if code in _THROTTLED:
        return ApiThrottled.about(
            action, value=code, expected="an answer", hint="Something in this account calls too often."
        )
    if code in _NO_IDENTITY:
        return CredentialsMissing.about(
            "this node's AWS credentials",
            value=f"{code}: {text}",
            expected="credentials that AWS knows",
            hint="Is the role of the instance profile still there, and is this host's clock right?",
        )
    return ApiRefused.about(
        action, value=f"{code}: {text} ({about})", expected="an answer", hint="See the AWS status page."
    )


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _text_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", ""))
