"""Tokens: what opens the gate, and everything that does not."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from airunner.model.errors import InvalidRequest, Unauthenticated
from airunner.model.limits import TOKEN_BYTES_MAX, TOKENS_CACHED_MAX
from airunner.server.auth import JwtAuthenticator, NoAuth, sign_token
from airunner.server.grpc.actions import ACTIONS, OPEN
from airunner.server.policy import ALLOWED, Action, Role, may
from airunner.wire.job.v1 import job_pb2
from tests.promises import holds, promise

Keys = tuple[str, str]  # private, public


def pems(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> Keys:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


@pytest.fixture(scope="module")
def keys() -> Keys:
    return pems(ec.generate_private_key(ec.SECP256R1()))


class Clock:
    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(keys: Keys, clock: Clock) -> JwtAuthenticator:
    return JwtAuthenticator(keys[1], now=clock)


@pytest.fixture
def signed(keys: Keys, clock: Clock) -> Callable[..., str]:
    """A token with these claims beside a good subject and end; None leaves a claim out."""

    def sign(**claims: object) -> str:
        base: dict[str, object] = {"sub": "ada", "exp": clock() + 60, "role": "user"} | claims
        kept = {name: value for name, value in base.items() if value is not None}
        return jwt.encode(kept, keys[0], algorithm="ES256")

    return sign


def test_a_signed_token_says_who_is_calling(
    keys: Keys, gate: JwtAuthenticator, clock: Clock
) -> None:
    token = sign_token(keys[0], "ada", roles=[Role.USER, Role.VIEWER], seconds=60, now=clock)
    caller = gate.authenticate(token)
    assert caller.subject == "ada"
    assert caller.roles == {Role.USER, Role.VIEWER}
    assert caller.expires == clock() + 60


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "\ud800mallory"},
        {"sub": "mal\0lory"},
        {"sub": "mal\x1b[2Jlory"},
        {"sub": "m" * 1_025},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": 10**400},
        {"exp": 999_999},
        {"nbf": 1_000_001},
        {"nbf": "later"},
        {"role": 7},
    ],
    ids=str,
)
def test_a_token_with_a_bad_claim_is_refused(
    gate: JwtAuthenticator, signed: Callable[..., str], claims: dict[str, object]
) -> None:
    with pytest.raises(Unauthenticated):
        gate.authenticate(signed(**claims))


@pytest.mark.parametrize("token", [None, "", "x", "a.b.c", "é.é.é", "x" * (TOKEN_BYTES_MAX + 1)])
def test_what_is_no_token_is_refused(gate: JwtAuthenticator, token: str | None) -> None:
    with pytest.raises(Unauthenticated):
        gate.authenticate(token)


@promise(
    "server/bad-token-opens-nothing",
    "A forged token, an expired token and a token of another key open nothing. A stream ends when "
    "its token expires.",
)
def test_another_key_opens_nothing(gate: JwtAuthenticator, clock: Clock) -> None:
    other, _ = pems(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(Unauthenticated, match="key that this server trusts"):
        gate.authenticate(sign_token(other, "ada", roles=[Role.ADMIN], seconds=60, now=clock))


def part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "head",
    [
        [],
        7,
        {"alg": ["ES256"]},
        {"alg": {}},
        {"alg": "ES256", "kid": 7},
        {"alg": "ES256", "typ": []},
        {"alg": "ES256", "crit": 7},
        {"alg": "ES256", "b64": False},
    ],
    ids=str,
)
def test_a_token_with_a_strange_head_opens_nothing(gate: JwtAuthenticator, head: object) -> None:
    for text in (
        part(head),
        _base64(b"[" * 5_000),
        _base64(b"\xff"),
        _base64(b'{"alg":"\\ud800"}'),
    ):
        with pytest.raises(Unauthenticated):
            gate.authenticate(f"{text}.{part({})}.AAAA")


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_token_without_a_signature_opens_nothing(gate: JwtAuthenticator, clock: Clock) -> None:
    claims = part({"sub": "ada", "exp": clock() + 60, "role": "admin"})
    for algorithm in ("none", "None", "ES256"):
        with pytest.raises(Unauthenticated):
            gate.authenticate(f"{part({'alg': algorithm})}.{claims}.")


@holds("server/bad-token-opens-nothing")
def test_the_public_key_is_no_secret_to_sign_with(
    keys: Keys, gate: JwtAuthenticator, clock: Clock
) -> None:
    body = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': 'ada', 'exp': clock() + 60})}"
    mac = hmac.digest(keys[1].encode(), body.encode(), hashlib.sha256)
    forged = f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    with pytest.raises(Unauthenticated):
        gate.authenticate(forged)


@holds("server/bad-token-opens-nothing")
def test_a_token_that_was_good_is_refused_once_it_has_expired(
    gate: JwtAuthenticator, signed: Callable[..., str], clock: Clock
) -> None:
    token = signed()
    gate.authenticate(token)
    clock.time += 60
    with pytest.raises(Unauthenticated, match="expired"):
        gate.authenticate(token)


def test_an_audience_is_checked_where_the_server_has_one(
    keys: Keys, clock: Clock, signed: Callable[..., str]
) -> None:
    gate = JwtAuthenticator(keys[1], audience="builds", now=clock)
    assert gate.authenticate(signed(aud="builds")).subject == "ada"
    for claims in ({"aud": "others"}, {}):
        with pytest.raises(Unauthenticated):
            gate.authenticate(signed(**claims))


def test_a_token_without_a_role_has_the_default_one_or_none(
    keys: Keys, clock: Clock, gate: JwtAuthenticator, signed: Callable[..., str]
) -> None:
    assert gate.authenticate(signed(role=None)).roles == frozenset()
    viewers = JwtAuthenticator(keys[1], default_role=Role.VIEWER, now=clock)
    assert viewers.authenticate(signed(role=None)).roles == {Role.VIEWER}


def test_a_role_that_does_not_exist_opens_nothing(
    gate: JwtAuthenticator, signed: Callable[..., str]
) -> None:
    assert gate.authenticate(signed(role=["root", "viewer"])).roles == {Role.VIEWER}


def test_remembered_tokens_are_bounded(
    keys: Keys, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TOKENS_CACHED_MAX >= 1_000
    monkeypatch.setattr("airunner.server.auth.TOKENS_CACHED_MAX", 2)
    gate = JwtAuthenticator(keys[1], now=clock)
    for name in ("ada", "bob", "cho"):
        gate.authenticate(sign_token(keys[0], name, roles=[], seconds=60, now=clock))
    assert len(gate._known) == 2


def test_without_tokens_everybody_is_an_administrator() -> None:
    caller = NoAuth().authenticate(None)
    assert caller.subject == "anonymous"
    assert caller.roles == {Role.ADMIN}
    assert caller.expires is None


def test_a_key_of_another_kind_is_refused_by_its_name(keys: Keys) -> None:
    rsa_keys = pems(rsa.generate_private_key(65537, 2048))
    other_curve = pems(ec.generate_private_key(ec.SECP384R1()))
    for private, public in (rsa_keys, other_curve, ("nothing", "nothing"), keys[::-1]):
        with pytest.raises(InvalidRequest, match="JWT_PUBLIC_KEY"):
            JwtAuthenticator(public)
        with pytest.raises(InvalidRequest, match="JWT_SIGNING_KEY"):
            sign_token(private, "ada", roles=[], seconds=60)


def test_a_token_for_nobody_or_for_no_time_is_not_made(keys: Keys) -> None:
    with pytest.raises(InvalidRequest, match="subject"):
        sign_token(keys[0], "", roles=[], seconds=60)
    for subject in ("J\udcf6rg", "a\nb", "m" * 1_025):
        with pytest.raises(InvalidRequest, match="subject"):
            sign_token(keys[0], subject, roles=[], seconds=60)
    with pytest.raises(InvalidRequest, match="ttl"):
        sign_token(keys[0], "ada", roles=[], seconds=0)


@promise(
    "server/calls-need-a-role",
    "Each call is open to the roles in its row of the role table, and to nobody else. A new call "
    "is closed until it has a row.",
)
def test_every_call_of_the_contract_has_its_row_and_admin_is_in_all_of_them() -> None:
    calls = {
        f"/{service.full_name}/{method.name}"
        for service in job_pb2.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert calls <= ACTIONS.keys()
    assert ALLOWED.keys() == set(Action)
    assert all(Role.ADMIN in roles for roles in ALLOWED.values())
    assert not OPEN & ACTIONS.keys()


@holds("server/calls-need-a-role")
@pytest.mark.parametrize(
    ("role", "open", "closed"),
    [
        (Role.VIEWER, ["GetJob", "ListJobs", "QueueStats"], ["EnqueueJob", "CancelJob", "Work"]),
        (Role.USER, ["EnqueueJob", "EnqueueJobs", "CancelJob", "RetryJob", "GetJob"], ["Work"]),
        (
            Role.WORKER,
            ["Work", "DequeueJob", "UpdateJob", "CompleteJob", "ReleaseJob", "ListJobs"],
            ["EnqueueJob", "EnqueueJobs", "CancelJob", "RetryJob"],
        ),
    ],
)
def test_roles_may_what_the_table_says(role: Role, open: list[str], closed: list[str]) -> None:
    for name in open:
        assert may(ACTIONS[f"/job.v1.JobService/{name}"], frozenset({role}))
    for name in closed:
        assert not may(ACTIONS[f"/job.v1.JobService/{name}"], frozenset({role}))
    assert not may(ACTIONS.get("/job.v1.JobService/SomethingNew"), frozenset(Role))
