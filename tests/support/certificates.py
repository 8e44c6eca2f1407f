"""A cluster's CA and its certificates, as the playbook makes them: name, address, both in the certificate."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


class Authority:
    """Makes certificates in one directory."""

    def __init__(self, place: Path) -> None:
        place.mkdir(exist_ok=True)
        self._place = place
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca = place / "ca.crt"
        self.ca.write_bytes(self._sign("ca", self._key, None).public_bytes(_PEM))

    def certificate(self, name: str, address: str) -> tuple[Path, Path]:
        """Certificate and key of one node; made anew at each call."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert_file, key_file = self._place / f"{name}.crt", self._place / f"{name}.key"
        cert_file.write_bytes(self._sign(name, key, address).public_bytes(_PEM))
        plain = serialization.NoEncryption()
        key_file.write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, plain))
        key_file.chmod(0o600)
        return cert_file, key_file

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, address: str | None) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=address is None, path_length=None), critical=True)
        )
        if address is not None:
            names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address(address))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())
