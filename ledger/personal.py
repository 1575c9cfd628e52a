"""Personal values: encrypted under a key per person, so that erasing the key erases the person (rule 48).

The installation's key (``Sealer``) encrypts each person's own key; the person's key encrypts the
name and the personal part of audit rows. The hash chain holds salted digests only, so it still verifies
after an erasure and nobody can guess what was erased. Without a sealer nothing personal is stored.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from canonical.failures import ConfigurationError, Defect

KEY_BYTES = 32
_NONCE_BYTES = 12


class Sealer(Protocol):
    """The installation's key, wherever it lives (a file, the environment, a key service)."""

    def encrypt(self, plain: bytes, aad: bytes) -> bytes:
        """``plain`` sealed; ``aad`` must be given again to open it."""
        ...

    def decrypt(self, sealed: bytes, aad: bytes) -> bytes:
        """What was sealed.

        Raises:
            Defect: another key, other ``aad``, or changed bytes.
        """
        ...

    def pseudonym(self, text: str) -> str:
        """A stable name for ``text`` that nobody without the key can guess."""
        ...


class AesGcmSealer:
    """AES-256-GCM with a random nonce per value; pseudonyms by HMAC-SHA-256 under a derived key."""

    def __init__(self, key: bytes) -> None:
        """Use a 32-byte key.

        Raises:
            ConfigurationError: another length.
        """
        if len(key) != KEY_BYTES:
            raise ConfigurationError(
                [f"the ledger's personal key has {len(key)} bytes; expected {KEY_BYTES}"]
            )
        self._cipher = AESGCM(key)
        self._pseudonyms = hmac.digest(key, b"trueup pseudonym", "sha256")

    @classmethod
    def from_text(cls, text: str, source: str) -> AesGcmSealer:
        """From the key as base64.

        Raises:
            ConfigurationError: not base64 of 32 bytes; names ``source``, never the key.
        """
        try:
            return cls(base64.b64decode(text.strip(), validate=True))
        except (binascii.Error, ConfigurationError):
            raise ConfigurationError(
                [f"{source}: expected {KEY_BYTES} bytes as base64, e.g. from `openssl rand -base64 32`"]
            ) from None

    @classmethod
    def from_env(cls, name: str) -> AesGcmSealer:
        """From an environment variable.

        Raises:
            ConfigurationError: not set, or not a key.
        """
        value = os.environ.get(name)
        if not value:
            raise ConfigurationError([f"environment variable {name} (the ledger's personal key) is not set"])
        return cls.from_text(value, f"environment variable {name}")

    @classmethod
    def from_file(cls, path: Path, *, create: bool = False) -> AesGcmSealer:
        """From a file, made with mode 0600 when ``create`` and there is none.

        Raises:
            ConfigurationError: no such file, or not a key.
        """
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                pass
            else:
                with os.fdopen(handle, "wb") as file:
                    file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
        try:
            text = path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                [f"{path}: the ledger's personal key cannot be read ({type(error).__name__})"]
            ) from None
        return cls.from_text(text, str(path))

    def encrypt(self, plain: bytes, aad: bytes) -> bytes:
        """Nonce and ciphertext."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, aad)

    def decrypt(self, sealed: bytes, aad: bytes) -> bytes:
        """What was sealed.

        Raises:
            Defect: another key, other ``aad``, or changed bytes.
        """
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], aad)
        except InvalidTag:
            raise Defect(
                "a sealed personal value cannot be opened: another key, or the value was changed",
                system="ledger",
                remedy="give the ledger the key it was sealed with",
            ) from None

    def pseudonym(self, text: str) -> str:
        """A stable name for ``text``: 32 hexadecimal digits."""
        return "p-" + hmac.new(self._pseudonyms, text.encode(), hashlib.sha256).hexdigest()[:32]
