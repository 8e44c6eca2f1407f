"""What the agent foresees going wrong: one tree, one class per thing a caller can do differently.

Every error has a message and a hint. Where something was found to be other than it must be, it also
names that thing, the value found and the value expected, so that a program can act on it:
`failoverctl status --json` and `failoverctl doctor --json` show exactly these fields.

An error may travel as a value (in `Unknown.cause`, in a verdict of the doctor) as well as be raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Self

CARRIED_OUT = "to be carried out"  # of an order whose refusal says no more than why


class AgentError(Exception):
    """Something we foresaw. Carries what happened and what to try."""

    def __init__(
        self, message: str, *, hint: str, object: str = "", value: str = "", expected: str = ""
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.object = object
        self.value = value
        self.expected = expected

    @classmethod
    def about(cls, object: str, *, value: str, expected: str, hint: str) -> Self:
        """The usual form: the message follows from the fields."""
        message = f"{object}: {value}; expected {expected}"
        return cls(message, hint=hint, object=object, value=value, expected=expected)

    def __str__(self) -> str:
        return f"{self.args[0]}\nHINT: {self.hint}"

    def __reduce__(self) -> tuple[Callable[[Mapping[str, str]], AgentError], tuple[dict[str, str]]]:
        return from_fields, (self.fields(),)

    def fields(self) -> dict[str, str]:
        """What programs are shown."""
        return {
            "error": type(self).__name__,
            "object": self.object,
            "value": self.value,
            "expected": self.expected,
            "remedy": self.hint,
            "message": str(self.args[0]),
        }

    def refusal(self, order: str) -> dict[str, object]:
        """What answers an order that was not carried out: all fields, and none of them empty.

        `why` and `hint` repeat two of them: agents and commands of the release before read only these.
        """
        told = self.fields()
        if not self.object:
            told |= {"object": order, "value": told["message"], "expected": CARRIED_OUT}
        return {"ok": False, "why": told["message"], "hint": self.hint, **told}


def from_fields(fields: Mapping[str, str]) -> AgentError:
    """The error that `fields` came from; of a class we do not know (another version's), a plain one."""
    known: list[type[AgentError]] = [AgentError, *_below(AgentError)]
    classes = {cls.__name__: cls for cls in known}
    return classes.get(fields["error"], AgentError)(
        fields["message"],
        hint=fields["remedy"],
        object=fields["object"],
        value=fields["value"],
        expected=fields["expected"],
    )


def _below(cls: type[AgentError]) -> Iterator[type[AgentError]]:
    for child in cls.__subclasses__():
        yield child
        yield from _below(child)


# The configuration: correct the inventory, run the playbook.


class ConfigRefused(AgentError):
    """The configuration breaks a rule; nothing was started."""


class TimingsImpossible(ConfigRefused):
    """The timings break a relation of PROTOCOL L5: two nodes could write, or fail over for nothing."""


# The cloud: rights and reach.


class RightMissing(AgentError):
    """AWS knows this node's role and does not allow it the action."""


class CredentialsMissing(AgentError):
    """There are no credentials to sign with, or AWS does not know them."""


class ApiThrottled(AgentError):
    """AWS asks for fewer calls; the same call works later."""


class ApiRefused(AgentError):
    """AWS answered with an error that we have no name for."""


class Ec2Unreachable(AgentError):
    """The EC2 API does not answer: clients' addresses cannot be moved, the lease is untouched."""


# The store and what stands in it.


class StoreUnreachable(AgentError):
    """The store of the lease does not answer; silence is no free lease (L4)."""


class NetworkUnreachable(StoreUnreachable):
    """Neither the store nor any other member answers: it is this node's own network."""


class CarriedByPromises(StoreUnreachable):
    """The primary goes on without the store: whoever may claim promised not to (P1)."""


class RenewedThroughPeer(StoreUnreachable):
    """This node's own way to the store is dead; its lease is renewed through another node (P4)."""


class StoreTableMissing(AgentError):
    """The store answers and has no such table: an alarm, never a fresh cluster (L6)."""


class StoreSchemaWrong(AgentError):
    """The table is there and is not one of ours."""


class LeaseMoved(AgentError):
    """What stands under the cluster's name is not this cluster's lease."""


class LeaseMissing(LeaseMoved):
    """The table has no lease item for a cluster that has data (L6)."""


class LeaseTooNew(LeaseMoved):
    """A newer agent wrote the lease; this one would read it wrongly, and leaves it alone."""


class LeaseUnreadable(LeaseMoved):
    """The lease item is damaged: never taken for a lease, nor for none."""


class ClusterNameTaken(LeaseMoved):
    """The lease is held by a machine that is not in our inventory: two clusters of one name."""


class LeaseMovedOn(AgentError):
    """Our epoch is no longer the current one; whatever we meant to do is void."""


# The network.


class SourceDestCheckOn(AgentError):
    """EC2 drops every packet for the virtual address, because it is not the interface's own."""


class RouteDidNotMove(AgentError):
    """The API did not take the change, or took it and the table still points elsewhere."""


class RouteTableMissing(RouteDidNotMove):
    """A route table that the configuration names does not exist."""


class FenceRefused(AgentError):
    """A node's machine cannot be fenced, or let free again, and asking again changes nothing."""


class FencePending(AgentError):
    """The node that held the lease before is not known to be fenced, and the policy is to wait."""


class NodeFenced(AgentError):
    """A node was fenced and has not been let back yet."""


class VipRouteMissing(RouteDidNotMove):
    """A route table leads nowhere for a virtual address: clients in its subnets cannot connect."""


class VipInsideVpc(RouteDidNotMove):
    """AWS routes no address inside the VPC's own networks to an interface of our choice."""


class VipNotBound(AgentError):
    """The virtual address could not be put on this node."""


# The gate.


class GateFailed(AgentError):
    """The gate could not be set as wished; counts as a failed renewal (G5)."""


class GateDisturbed(GateFailed):
    """The gate's table in the kernel is not as we wrote it, or gone (G5)."""


# PostgreSQL and its data.


class PostgresFailed(AgentError):
    """PostgreSQL or one of its programs refused or did not finish in time."""


class RewindNotBegun(PostgresFailed):
    """A rewind was refused before it changed anything: the data is whole, it may be tried again."""


class ReplayHeld(AgentError):
    """A standby replays no further: a setting here is lower than the primary's."""


class LogicalSlotsAtRisk(AgentError):
    """Logical slots of the primary that a standby would not have, were it promoted: consumers begin anew."""


class LoginRefused(PostgresFailed):
    """PostgreSQL does not let one of our roles in: no right, no pg_hba entry, no way there."""


class PasswordRefused(LoginRefused):
    """The password in our secrets is not the role's."""


class DataDirectoryRefused(AgentError):
    """The data directory belongs to another cluster, or is not whole."""


class ForeignDataDirectory(DataDirectoryRefused):
    """Whole, and of another system than the lease's: not ours to touch."""


class HalfClonedDirectory(DataDirectoryRefused):
    """A copy that was broken off: it has files of a data directory and can never start."""


class HalfRewoundDirectory(DataDirectoryRefused):
    """A rewind was broken off after it began to overwrite: it must never start."""


class DataDirectoryDamaged(DataDirectoryRefused):
    """The control file cannot be read or fails its checksum."""


# The host.


class ClocksApart(AgentError):
    """Two wall clocks differ by more than logs, certificates and signatures can bear."""


class CertificateUnfit(AgentError):
    """A certificate is expired, soon expired, not ours, or its key does not fit."""


class NodeAlarm(AgentError):
    """One of the alarms of this node: PostgreSQL without progress, storage that hangs, a full disk."""


class DiskNearlyFull(AgentError):
    """A volume that PostgreSQL or the agent must write to has little room left."""


class UnitDown(AgentError):
    """A service that must run does not."""


# The other nodes.


class PeerSilent(AgentError):
    """Another node's agent does not answer this one."""


class PeerRefused(AgentError):
    """Another node's agent, or ours, refused what was asked."""


class ModeRefused(AgentError):
    """What commits are promised was not switched as ordered."""


class PauseRefused(AgentError):
    """Failover was not paused, or not resumed, as ordered."""


class FailoverPaused(AgentError):
    """No node takes the primary's place by itself, because a person said so."""


class SyncSetAwaited(AgentError):
    """A primary lets nobody in: too few standbys vouch for its commits yet (S2)."""


class CommitsWait(AgentError):
    """Commits hang: fewer standbys stream than each commit waits for."""


class CommitsUnprotected(AgentError):
    """Where commits are promised, some wait for no standby: synchronous_commit local or off (S8)."""


class CheckTookTooLong(AgentError):
    """A check of the doctor did not end in its time."""
