"""A strict, stateful simulator of a Salesforce organisation (REST data API and OAuth).

Accepted credentials unless ``POST /_sim/settings`` says otherwise: client id ``sim-salesforce-client``,
client secret ``sim-salesforce-secret`` (client-credentials grant); for the JWT-bearer grant set
``jwt_certificate`` to a PEM certificate or public key and sign for user ``integration@acme.example``.
"""

from simulators.salesforce.simulator import Salesforce

__all__ = ["Salesforce", "build"]


def build() -> Salesforce:
    """A fresh organisation with no records but its own."""
    return Salesforce()
