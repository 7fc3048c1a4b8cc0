"""What a mobile node does as a host before an address is usable: RFC 4861 and RFC 4862."""

from __future__ import annotations

from typing import Annotated

import msgspec


class HostVariables(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """RFC 4861 section 10 and RFC 4862 section 5.1, with their defaults but for one: home network
    prefixes are the node's own, and no other node can have an address of them (RFC 5213 section
    6.8), so `dup_addr_detect_transmits` is 0. `optimistic`: addresses are used while they are
    probed (RFC 4429). Without solicitations the node waits for what routers send unasked."""

    max_rtr_solicitations: Annotated[int, msgspec.Meta(ge=0)] = 3
    dup_addr_detect_transmits: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    retrans_timer_ms: Annotated[int, msgspec.Meta(ge=1)] = 1_000
    optimistic: bool = False
