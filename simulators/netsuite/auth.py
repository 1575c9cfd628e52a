"""Who may call: OAuth 2.0 machine-to-machine tokens and, as an option, TBA (OAuth 1.0) signatures.

Sources: vendor documentation: OAuth 2.0 machine-to-machine; TBA; Expired or bad credentials. The body that
refuses a token request is not documented there; RFC 6749 section 5.2 is assumed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from simulators.kit import Answer, Call, Clock, VendorError
from simulators.netsuite import errors

TOKEN_PATH = "/services/rest/auth/oauth2/v1/token"
ALGORITHMS = ("PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Accepted signature algorithms; RS256 is not among them."""
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST = 3600
"""Seconds between ``iat`` and ``exp``, at most."""
SKEW = 60
"""Seconds by which a client's clock may be ahead (assumption)."""
LONGEST_CERTIFICATE = timedelta(days=2 * 366)

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


def _bad(error: str, description: str, status: int = 400) -> VendorError:
    return VendorError(Answer(status, {"error": error, "error_description": description}))


def public_key(pem: str) -> PublicKey:
    """The key of a certificate or public key in PEM.

    Raises:
        ValueError: unreadable, expired, valid for too long, or a key that the vendor does not take.
    """
    if "BEGIN CERTIFICATE" in pem:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        starts, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not starts <= datetime.now(UTC) <= ends:
            raise ValueError("the certificate is not valid now")
        if ends - starts > LONGEST_CERTIFICATE:
            raise ValueError("the certificate is valid for more than two years")
        key = certificate.public_key()
    else:
        loaded = serialization.load_pem_public_key(pem.encode())
        if not isinstance(loaded, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise ValueError("only RSA and EC keys are taken")
        key = loaded
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size not in (3072, 4096):
            raise ValueError("RSA keys must have 3072 or 4096 bits")
        return key
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in ("secp256r1", "secp384r1", "secp521r1"):
            raise ValueError("EC keys must be on P-256, P-384 or P-521")
        return key
    raise ValueError("only RSA and EC keys are taken")


def base_string(method: str, url: str, parameters: list[tuple[str, str]]) -> str:
    """The OAuth 1.0 signature base string (RFC 5849 section 3.4.1)."""

    def encode(text: str) -> str:
        return quote(text, safe="-._~")

    pairs = sorted((encode(k), encode(v)) for k, v in parameters)
    joined = "&".join(f"{k}={v}" for k, v in pairs)
    return "&".join((method.upper(), encode(url), encode(joined)))


class Gate:
    """Issues and checks tokens; verifies signatures."""

    def __init__(self, settings: dict[str, Any], clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.tokens: dict[str, datetime] = {}
        self._keys: dict[str, PublicKey] = {}
        self._nonces: set[tuple[str, str]] = set()

    def forget(self) -> None:
        """Drop all tokens."""
        self.tokens.clear()
        self._nonces.clear()

    # --- tokens -------------------------------------------------------------------------------

    def issue(self, call: Call) -> Answer:
        """``POST .../token``: a bearer token against a signed assertion."""
        if call.method != "POST":
            raise errors.refuse(405, errors.Detail("Method not allowed.", "INVALID_PARAMETER"))
        if not call.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            raise _bad("invalid_request", "The request must be form encoded.")
        form = call.form()
        if form.get("grant_type") != "client_credentials":
            raise _bad("unsupported_grant_type", "grant_type must be client_credentials.")
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise _bad("invalid_request", f"client_assertion_type must be {ASSERTION_TYPE}.")
        self._check_assertion(form.get("client_assertion", ""))
        token = secrets.token_urlsafe(32)
        seconds = int(self.settings["token_seconds"])
        self.tokens[token] = self.clock.now() + timedelta(seconds=seconds)
        shown: Any = str(seconds) if self.settings["expires_in_as"] == "string" else seconds
        return Answer(200, {"access_token": token, "expires_in": shown, "token_type": "bearer"})

    def _check_assertion(self, assertion: str) -> None:
        try:
            header = jwt.get_unverified_header(assertion)
            if header.get("alg") not in ALGORITHMS:
                raise ValueError(f"alg {header.get('alg')} is not accepted")
            if header.get("typ") != "JWT":
                raise ValueError("typ must be JWT")
            pem = self.settings["certificates"].get(str(header.get("kid")))
            if pem is None:
                raise ValueError("kid is not mapped")
            if pem not in self._keys:
                self._keys[pem] = public_key(pem)
            claims = jwt.decode(
                assertion,
                self._keys[pem],
                algorithms=[str(header["alg"])],
                # Times are checked below, audience depends on a setting.
                options={"verify_aud": False, "verify_exp": False, "verify_iat": False},
            )
            self._check_claims(claims)
        except (ValueError, jwt.PyJWTError, TypeError) as bad:
            raise _bad("invalid_client", f"Invalid client assertion: {bad}.", 401) from None

    def _check_claims(self, claims: dict[str, Any]) -> None:
        if claims.get("iss") != self.settings["client_id"]:
            raise ValueError("iss is not the client id")
        scope = claims.get("scope")
        scopes = scope if isinstance(scope, list) else str(scope or "").replace(",", " ").split()
        if "rest_webservices" not in scopes:
            raise ValueError("scope must contain rest_webservices")
        aud = claims.get("aud")
        if self.settings["token_url"] is not None:
            matched = aud == self.settings["token_url"]
        else:
            # On loopback the host cannot be the vendor's: the path must still be the token's.
            parts = urlsplit(aud) if isinstance(aud, str) else None
            matched = parts is not None and parts.scheme in ("http", "https") and parts.path == TOKEN_PATH
        if not matched:
            raise ValueError("aud is not the token URL")
        issued, expires = claims.get("iat"), claims.get("exp")
        if not isinstance(issued, int) or not isinstance(expires, int):
            raise ValueError("iat and exp must be whole seconds")
        # The client's clock cannot follow a moved simulator clock, so assertions go by real time.
        now = time.time()
        if issued > now + SKEW or expires <= now:
            raise ValueError("the assertion is not valid now")
        if not 0 < expires - issued <= LONGEST:
            raise ValueError("exp may be at most 60 minutes after iat")

    # --- calls --------------------------------------------------------------------------------

    def check(self, call: Call) -> None:
        """Let a call pass or refuse it with the vendor's 401.

        Raises:
            VendorError: no, wrong or expired credentials.
        """
        kind, _, rest = call.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and "oauth2" in self.settings["auth"]:
            token = rest.strip()
            if call.expired:
                self.tokens.pop(token, None)
            expires = self.tokens.get(token)
            if expires is not None and self.clock.now() < expires:
                return
        tba = kind.lower() == "oauth" and "tba" in self.settings["auth"] and not call.expired
        if tba and self._signed(call, rest):
            return
        raise errors.unauthorized()

    def _signed(self, call: Call, header: str) -> bool:
        """Whether an OAuth 1.0 header fits the configured credentials and the request."""
        known = self.settings["tba"]
        sent: dict[str, str] = {}
        for part in header.split(","):
            name, found, value = part.strip().partition("=")
            if not found or not (value.startswith('"') and value.endswith('"')):
                return False
            sent[unquote(name)] = unquote(value[1:-1])
        if not known or sent.pop("realm", None) != self.settings["account_id"]:
            return False
        signature = sent.pop("oauth_signature", "")
        fits = (
            sent.get("oauth_consumer_key") == known["consumer_key"]
            and sent.get("oauth_token") == known["token"]
            and sent.get("oauth_signature_method") == "HMAC-SHA256"
            and sent.get("oauth_version", "1.0") == "1.0"
        )
        stamp, nonce = sent.get("oauth_timestamp", ""), sent.get("oauth_nonce", "")
        if not fits or not nonce or not stamp.isdigit() or (stamp, nonce) in self._nonces:
            return False
        if abs(int(stamp) - time.time()) > self.settings["tba_window_seconds"]:
            return False
        url = f"{call.scheme}://{call.headers.get('host', '').lower()}{call.raw_path}"
        text = base_string(call.method, url, [*sent.items(), *call.query])
        secret = "&".join(quote(known[k], safe="-._~") for k in ("consumer_secret", "token_secret"))
        digest = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
        if not hmac.compare_digest(base64.b64encode(digest).decode(), signature):
            return False
        self._nonces.add((stamp, nonce))
        return True
