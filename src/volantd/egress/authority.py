"""A certificate authority of one sandbox: what stands in for the domains of its replacements.

Only that sandbox trusts it, and its key leaves the daemon never. Those of the domains go to the
process that stands in for them.
"""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: How long its certificates are good, and how far a clock may be behind.
DAYS, SLACK = 800, datetime.timedelta(days=1)
#: Characters of a common name.
COMMON_NAME_CHARS_MAX = 64


class Authority:
    """The authority of one sandbox.

    Attributes:
        certificate: as PEM.
    """

    def __init__(self, name: str, now_s: float) -> None:
        """`name`: what its certificate is called; `now_s`: seconds since 1970."""
        self._now = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        key_use = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = _builder(self._name, self._name, self._key.public_key(), self._now)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        builder = builder.add_extension(key_use, True)
        self._own = builder.sign(self._key, hashes.SHA256())
        self.certificate = self._own.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, domain: str) -> tuple[str, str]:
        """A certificate for a domain or a pattern, and its private key, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        common = x509.NameAttribute(NameOID.COMMON_NAME, domain[:COMMON_NAME_CHARS_MAX])
        builder = _builder(x509.Name([common]), self._name, key.public_key(), self._now)
        for extension, critical in (
            (x509.SubjectAlternativeName([x509.DNSName(domain)]), False),
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False),
        ):
            builder = builder.add_extension(extension, critical)
        signed = builder.sign(self._key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )  # fmt: skip
        return signed.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
) -> x509.CertificateBuilder:  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SLACK)
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
    )
