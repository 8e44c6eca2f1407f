"""KMS keys of EBS volumes.

Simulated:
- [documented] an encrypted volume without a key of its own has the account's `alias/aws/ebs`, a key that
  AWS manages <EBS user guide: default KMS key for EBS encryption>
- [documented] a volume names its key by ARN, whatever way the key was asked for <EC2 API: Volume.KmsKeyId>
- [documented] a key for a volume that is not encrypted: InvalidParameterDependency <EC2 API: CreateVolume>
- [assumed (AWS looks later, and the volume or machine vanishes again)] a key that is not there or not
  enabled is refused at once
- [not simulated] rights to a key, its policy and grants: who may use the volume may use its key
- [not simulated] the encryption itself: the images of the volumes lie in clear on the lab's machine
"""

from __future__ import annotations

import re
from typing import Any

from moto import backends as moto_backends

from ec2_lab.door import ACCOUNT, REGION
from ec2_lab.door.answers import Refused
from ec2_lab.door.calls import Call

_DEFAULT_ALIAS = "alias/aws/ebs"
_KEY = re.compile(r"^((?:BlockDeviceMapping\.\d+\.Ebs\.)?)KmsKeyId$")


def key_is_usable(call: Call, _backend: Any) -> None:
    """A rule of RunInstances and CreateVolume. Raises Refused."""
    for parameter, name in sorted(call.params.items()):
        found = _KEY.match(parameter)
        if found is None:
            continue
        if call.params.get(f"{found[1]}Encrypted", "false").lower() != "true":
            raise Refused(
                "InvalidParameterDependency",
                "The parameter KmsKeyId requires the parameter Encrypted to be set.",
            )
        key = _key(name)
        if key is None:
            raise Refused("InvalidKmsKey.NotFound", f"The KMS key '{name}' does not exist.")
        if key.key_state != "Enabled":
            raise Refused(
                "InvalidKmsKey.InvalidState", f"The KMS key {key.arn} is {key.key_state}, not Enabled."
            )


def name_by_arn(backend: Any) -> None:
    """Every encrypted volume names its key by ARN, and the account's default key is AWS's own."""
    for volume in backend.volumes.values():
        if volume.encrypted and (key := _key(volume.kms_key_id or _DEFAULT_ALIAS)):
            volume.kms_key_id = key.arn
            if _DEFAULT_ALIAS in key.aliases:
                key.key_manager = "AWS"


def _key(name: str) -> Any | None:
    """By id, alias or ARN of either; None when there is none."""
    kms: Any = moto_backends.get_backend("kms")[ACCOUNT][REGION]
    alias = kms.get_alias_name(name)
    if alias.startswith("alias/"):
        return kms.keys.get(kms.get_key_id_from_alias(alias))  # makes AWS's own at its first use
    return kms.keys.get(kms.get_key_id(name))
