"""A bearer token that neither expires nor can be renewed (Kantata reference, OAuth).

A 401 therefore means that somebody revoked it: we stop and alert instead of trying again. The token is
read at every call, so a new one works without a restart.
"""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from connectors.kit.secrets import Secret


class SecretToken:
    """Adds the token that the secret holds right now."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret

    async def headers(self, request: httpx.Request) -> Mapping[str, str]:
        """The Authorization header.

        Raises:
            Unauthorised: there is no token where the settings say.
        """
        return {"Authorization": f"Bearer {self._secret.read()}"}

    def forget(self) -> bool:
        """There is nothing to renew: never try again."""
        return False
