"""The development certificate authority."""

import ipaddress
import stat
from pathlib import Path

import pytest
from cryptography import x509

from airunner.cli.exit_codes import CommandFailed
from airunner.cli.processes.certificates import FILES, certificates_hold, make_certificates
from tests.promises import promise


def names_in(path: Path) -> set[str]:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = found.get_values_for_type(x509.IPAddress)
    return {*found.get_values_for_type(x509.DNSName), *map(str, addresses)}


def test_the_server_certificate_is_signed_by_the_authority_beside_it(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    ca = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    server = x509.load_pem_x509_certificate((tmp_path / "server.pem").read_bytes())
    server.verify_directly_issued_by(ca)
    assert certificates_hold(tmp_path)


def test_the_server_certificate_names_this_machine_and_what_was_asked_for(tmp_path: Path) -> None:
    make_certificates(tmp_path, ["build.example", "10.1.2.3"])
    expected = {"localhost", "127.0.0.1", str(ipaddress.ip_address("::1"))}
    assert names_in(tmp_path / "server.pem") == expected | {"build.example", "10.1.2.3"}


@promise(
    "server/secrets-stay-private",
    "Secrets stay private. Only their owner can read private keys, only the submitter and an admin "
    "see environment values, and no log line holds a token, an environment value or output.",
)
def test_private_keys_and_their_folder_are_the_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "certs"
    make_certificates(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in FILES:
        mode = stat.S_IMODE((folder / name).stat().st_mode)
        assert mode == (0o600 if name.endswith("-key.pem") else 0o644)


def test_existing_certificates_are_not_overwritten(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    before = (tmp_path / "ca.pem").read_bytes()
    with pytest.raises(CommandFailed, match="--force"):
        make_certificates(tmp_path)
    assert (tmp_path / "ca.pem").read_bytes() == before


def test_force_replaces_existing_certificates(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    before = (tmp_path / "ca.pem").read_bytes()
    make_certificates(tmp_path, force=True)
    assert (tmp_path / "ca.pem").read_bytes() != before
    assert certificates_hold(tmp_path)


def test_a_name_that_is_no_name_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="neither a host name nor an IP address"):
        make_certificates(tmp_path, ["not a name"])
    assert not list(tmp_path.iterdir())


def test_a_key_that_is_not_the_certificates_does_not_hold(tmp_path: Path) -> None:
    make_certificates(tmp_path / "one")
    make_certificates(tmp_path / "other")
    (tmp_path / "one" / "server-key.pem").write_bytes(
        (tmp_path / "other" / "server-key.pem").read_bytes()
    )
    assert not certificates_hold(tmp_path / "one")


def test_an_empty_folder_holds_no_certificates(tmp_path: Path) -> None:
    assert not certificates_hold(tmp_path)
