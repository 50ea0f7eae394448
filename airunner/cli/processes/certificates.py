"""A development certificate authority, and the server certificate that it signs.

    ca.pem          trusted by clients (`--ca-cert`)
    ca-key.pem      0600; needed only to sign another server certificate
    server.pem      `airunner server --tls-cert`
    server-key.pem  0600; `airunner server --tls-key`

ECDSA on P-256. The server certificate names localhost, 127.0.0.1, ::1 and
the names given. Rejected: a single self-signed certificate for both, since a client that trusts it
would trust the server's key to sign other certificates; and mkcert, which must be installed
separately and adds its authority to the system's store.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from airunner.cli.exit_codes import CommandFailed
from airunner.cli.processes.private_files import make_private_folder, write_private

FILES = ("ca.pem", "ca-key.pem", "server.pem", "server-key.pem")
NAMES = ("localhost", "127.0.0.1", "::1")

_CA_LIFE = timedelta(days=3650)
_SERVER_LIFE = timedelta(days=825)  # the longest life that all common TLS libraries accept
_CLOCK_SKEW = timedelta(minutes=5)  # for clients with slow clocks


def make_certificates(directory: Path, names: Sequence[str] = (), *, force: bool = False) -> None:
    """Writes FILES into the directory (0700). Raises CommandFailed if any exists, unless `force`.

    names: host names and IP addresses of the server, beside NAMES.
    """
    there = [name for name in FILES if (directory / name).exists()]
    if there and not force:
        raise CommandFailed(
            f"{directory} already has {', '.join(there)}: use --force to replace the certificates, "
            "or another --dir"
        )
    alternatives = [_alternative_name(name) for name in dict.fromkeys((*NAMES, *names))]
    make_private_folder(directory)
    now = datetime.now(UTC)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _ca_certificate(ca_key, now)
    server_key = ec.generate_private_key(ec.SECP256R1())
    server = _server_certificate(server_key.public_key(), alternatives, ca, ca_key, now)
    write_private(directory / "ca-key.pem", private_pem(ca_key))
    write_private(directory / "server-key.pem", private_pem(server_key))
    write_private(directory / "ca.pem", ca.public_bytes(Encoding.PEM), mode=0o644)
    write_private(directory / "server.pem", server.public_bytes(Encoding.PEM), mode=0o644)


def certificates_hold(directory: Path) -> bool:
    """Whether the directory has a certificate, its key and its CA, all valid for another day."""
    try:
        ca = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
        server = x509.load_pem_x509_certificate((directory / "server.pem").read_bytes())
        key = load_pem_private_key((directory / "server-key.pem").read_bytes(), None)
        server.verify_directly_issued_by(ca)
    except (OSError, ValueError, TypeError, InvalidSignature):
        return False
    soon = datetime.now(UTC) + timedelta(days=1)
    return (
        key.public_key() == server.public_key()
        and min(ca.not_valid_after_utc, server.not_valid_after_utc) > soon
    )


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as unencrypted PKCS #8 PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _alternative_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        pass
    try:
        text = name.encode("idna").decode("ascii")
    except UnicodeError:
        text = ""
    if not text or any(not (each.isalnum() or each in "-.*") for each in text):
        raise CommandFailed(f"{name!r} is neither a host name nor an IP address")
    return x509.DNSName(text)


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _ca_certificate(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = _subject("airunner development CA")
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def _server_certificate(
    public: ec.EllipticCurvePublicKey,
    alternatives: Sequence[x509.GeneralName],
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(_subject("airunner server"))
        .issuer_name(ca.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _SERVER_LIFE)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(issuer, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
