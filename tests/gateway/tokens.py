"""The issuer of access tokens, for tests."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

ISSUER, AUDIENCE, KID = "https://issuer.acme.example", "trueup", "key-1"
ALL = (
    "trueup.clients.read trueup.projects.read trueup.projects.write trueup.time.read trueup.time.write "
    "trueup.invoices.read trueup.validations.run trueup.changes.read trueup.changes.write trueup.sagas.read"
)


@cache
def key() -> ec.EllipticCurvePrivateKey:
    """The issuer's key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_set(kid: str = KID) -> str:
    """The issuer's public keys."""
    found = json.loads(ECAlgorithm.to_jwk(key().public_key()))
    return json.dumps({"keys": [{**found, "kid": kid, "alg": "ES256", "use": "sig"}]})


def token(at: datetime, client: str = "portal", *, signer: Any = None, kid: str = KID,
          algorithm: str = "ES256", **changes: Any) -> str:  # fmt: skip
    """An access token; a claim changed to None is left out."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": client,
        "client_id": client,
        "scope": ALL,
        "iat": int(at.timestamp()),
        "exp": int((at + timedelta(hours=1)).timestamp()),
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, signer or key(), algorithm=algorithm, headers={"kid": kid})


def bearer(at: datetime, client: str = "portal", **changes: Any) -> dict[str, str]:
    """The header that carries it."""
    return {"Authorization": f"Bearer {token(at, client, **changes)}"}
