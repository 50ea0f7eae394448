"""Authentication by JSON Web Tokens, and the signing of such tokens.

A token is a JWT signed with ES256 (RFC 7518, section 3.4). Its claims:

    sub   the caller, who becomes the submitter of the jobs that the token enqueues: a printable line
    exp   the end of its validity, in seconds since the epoch; required
    nbf   the begin of its validity; optional
    role  the roles of the caller: a string or a list of viewer, user, worker, admin
    aud   the audience; checked if the server has a name of its own

The server chooses the algorithm, never the token. So the algorithm "none" opens nothing, and neither
does a public key that is used as an HMAC secret. The check of a signature costs more than the rest of
a small request, so the server caches a verified token until it expires.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from airunner.model.errors import InvalidRequest, Unauthenticated
from airunner.model.jobs import Subject
from airunner.model.limits import SUBJECT_BYTES_MAX, TOKEN_BYTES_MAX, TOKENS_CACHED_MAX
from airunner.model.validation import check_printable
from airunner.server.policy import Caller, Role

ALGORITHM: Final = "ES256"
# What the parts of a malformed token raise, before its signature is checked.
_MALFORMED: Final = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
_TIME_MAX: Final = 253_402_300_799  # the end of the year 9999


class Authenticator(Protocol):
    """Identifies callers."""

    def authenticate(self, token: str | None) -> Caller:
        """The caller that the token names. Raises Unauthenticated."""
        ...


_ANYBODY: Final = Caller(subject=Subject("anonymous"), roles=frozenset({Role.ADMIN}), expires=None)


class NoAuth:
    """Makes every caller an administrator: for development, on loopback only."""

    def authenticate(self, token: str | None) -> Caller:
        return _ANYBODY


class JwtAuthenticator:
    """Accepts tokens that the private half of the key has signed.

    A token without a role claim gets `default_role`; with None it may call nothing. Raises
    InvalidRequest if the key is not the public half of a P-256 pair.
    """

    def __init__(
        self,
        public_key: str,
        *,
        audience: str | None = None,
        default_role: Role | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._key = _public_key(public_key)
        self._audience = audience
        self._default = frozenset({default_role}) if default_role else frozenset[Role]()
        self._now = now
        self._known: OrderedDict[str, Caller] = OrderedDict()

    def authenticate(self, token: str | None) -> Caller:
        if not token:
            raise Unauthenticated("the call has no token: pass --token or set AIRUNNER_TOKEN")
        caller = self._known.get(token)
        if caller is None:
            caller = self._verified(token)
            self._known[token] = caller
            if len(self._known) > TOKENS_CACHED_MAX:
                self._known.popitem(last=False)
        if caller.expires is not None and caller.expires <= self._now():
            self._known.pop(token, None)
            raise Unauthenticated("the token has expired: get another (airunner token)")
        return caller

    def _verified(self, token: str) -> Caller:
        if len(token) > TOKEN_BYTES_MAX:
            raise Unauthenticated(f"the token is longer than {TOKEN_BYTES_MAX} bytes")
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                options={
                    "require": ["exp", "sub"],
                    "verify_aud": self._audience is not None,
                    "verify_exp": False,  # authenticate() does, by its own clock
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.MissingRequiredClaimError as error:
            raise Unauthenticated(f"the token has no {error.claim} claim") from None
        except jwt.InvalidAudienceError:
            raise Unauthenticated("the token is for another audience than this server") from None
        except (jwt.InvalidTokenError, *_MALFORMED):
            raise Unauthenticated(
                "the token was not signed by a key that this server trusts, or is not a token"
            ) from None
        subject = claims["sub"]
        expires, begins = _time(claims, "exp"), _time(claims, "nbf")
        if not isinstance(subject, str) or not subject or expires is None:
            raise Unauthenticated("the token's sub or exp claim is of the wrong type")
        try:
            check_printable("sub", subject, SUBJECT_BYTES_MAX, "SUBJECT_BYTES_MAX")
        except InvalidRequest as error:
            raise Unauthenticated(f"the token's sub claim {error.why}") from None
        if begins is not None and begins > self._now():
            raise Unauthenticated("the token is not valid yet: look at both clocks")
        return Caller(subject=Subject(subject), roles=self._roles(claims), expires=expires)

    def _roles(self, claims: Mapping[str, object]) -> frozenset[Role]:
        claim = claims.get("role")
        if claim is None:
            return self._default
        names = [claim] if isinstance(claim, str) else claim
        if not isinstance(names, list):
            raise Unauthenticated("the token's role claim is neither a string nor a list")
        return frozenset(role for role in Role if role in names)


def sign_token(
    signing_key: str,
    subject: str,
    *,
    roles: Iterable[Role],
    seconds: float,
    audience: str | None = None,
    now: Callable[[], float] = time.time,
) -> str:
    """A token for a subject, valid for `seconds`; `signing_key` is PEM text.

    Raises InvalidRequest if the key is not the private half of a P-256 pair, if the subject is empty or
    no printable line of text, or if `seconds` is not above zero.
    """
    if not subject:
        raise InvalidRequest("subject", "is empty: name the holder of the token")
    check_printable("subject", subject, SUBJECT_BYTES_MAX, "SUBJECT_BYTES_MAX")
    if seconds <= 0:
        raise InvalidRequest("ttl", "must be greater than zero")
    begins = int(now())
    if begins + seconds > _TIME_MAX:
        raise InvalidRequest("ttl", "must end before the year 10000")
    claims: dict[str, object] = {
        "sub": subject,
        "iat": begins,
        "exp": int(begins + seconds),
        "role": [str(role) for role in roles],
    }
    if audience is not None:
        claims["aud"] = audience
    return jwt.encode(claims, _private_key(signing_key), algorithm=ALGORITHM)


def _time(claims: Mapping[str, object], name: str) -> float | None:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        if value is not None:
            raise Unauthenticated(f"the token's {name} claim is not a time")
        return None
    if not 0 <= value <= _TIME_MAX:  # refuses infinity and NaN too
        raise Unauthenticated(f"the token's {name} claim is not a time")
    return float(value)


def _public_key(pem: str) -> ec.EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidRequest(
            "JWT_PUBLIC_KEY", "is not a PEM public key on the curve P-256 (airunner keys makes one)"
        )
    return key


def _private_key(pem: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidRequest(
            "JWT_SIGNING_KEY",
            "is not a PEM private key on the curve P-256 (airunner keys makes one)",
        )
    return key
