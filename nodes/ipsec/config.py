"""How the signalling of an LMA or a MAG is protected."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Ipsec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """ESP for all Mobility Headers, and none without. `security_associations`: the file that has
    them (`nodes.ipsec.security_associations`); without one, they are the business of a key manager
    (IKEv2), which gives those of each peer the request identifier that
    `nodes.ipsec.policies.request_identifiers` has for it."""

    security_associations: Path | None = None
