"""Secrets come from the environment or from mounted files, are read at every use (so they can be
rotated without a restart) and never print themselves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from canonical.failures import Unauthorised


class Secret(BaseModel):
    """Where a secret is: ``{env = "NAME"}`` or ``{file = "/run/secrets/name"}``; never the secret itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str | None = None
    file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_plain_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError('a secret is not written here; say {env = "NAME"} or {file = "PATH"}')
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Secret:
        if (self.env is None) == (self.file is None):
            raise ValueError("say exactly one of env, file")
        return self

    def read(self) -> str:
        """The secret's current value.

        Raises:
            Unauthorised: it is not there; the message says where it was looked for.
        """
        if self.env is not None:
            value = os.environ.get(self.env)
            where = f"environment variable {self.env}"
        else:
            assert self.file is not None
            where = f"file {self.file}"
            value = self.file.read_text().strip() if self.file.is_file() else None
        if not value:
            raise Unauthorised(f"No secret in {where}.", remedy=f"Provide {where}; no restart is needed.")
        return value

    def describe(self) -> str:
        """Where the secret is, for messages."""
        return f"environment variable {self.env}" if self.env else f"file {self.file}"
