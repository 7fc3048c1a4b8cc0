"""What a MAG does as a router on its access links: RFC 4861."""

from __future__ import annotations

from typing import Annotated

import msgspec

Milliseconds = Annotated[int, msgspec.Meta(ge=0)]
Octet = Annotated[int, msgspec.Meta(ge=0, le=255)]
PrefixLifetime = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF_FFFF)]


class RouterVariables(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """RFC 4861 section 6.2.1 and 10, and MinDelayBetweenRAs of RFC 6275 section 13, with their
    defaults. Those that are None follow from others as these sections say."""

    max_rtr_adv_interval_s: Annotated[int, msgspec.Meta(ge=4, le=1_800)] = 600
    min_rtr_adv_interval_s: Annotated[float, msgspec.Meta(ge=0.03)] | None = None
    adv_default_lifetime_s: Annotated[int, msgspec.Meta(ge=0, le=9_000)] | None = None
    adv_cur_hop_limit: Octet = 64
    adv_reachable_time_ms: Annotated[int, msgspec.Meta(ge=0, le=3_600_000)] = 0
    adv_retrans_timer_ms: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF_FFFF)] = 0
    adv_valid_lifetime_s: PrefixLifetime = 2_592_000
    adv_preferred_lifetime_s: PrefixLifetime = 604_800
    min_delay_between_ras_ms: Annotated[int, msgspec.Meta(ge=30)] = 3_000
    max_ra_delay_time_ms: Milliseconds = 500
    max_initial_rtr_advertisements: Annotated[int, msgspec.Meta(ge=0)] = 3
    max_initial_rtr_advert_interval_s: Annotated[int, msgspec.Meta(ge=1)] = 16
    # Neighbour Unreachability Detection of the mobile node
    reachable_time_ms: Annotated[int, msgspec.Meta(ge=1)] = 30_000
    retrans_timer_ms: Annotated[int, msgspec.Meta(ge=1)] = 1_000
    max_unicast_solicit: Annotated[int, msgspec.Meta(ge=1)] = 3
    # Whether a node is told of what is new as soon as it is (RFC 5213 section 6.9.1.2, step 14).
    advertise_at_once: bool = True

    def __post_init__(self) -> None:
        least, most = self.min_rtr_adv_interval_s, 0.75 * self.max_rtr_adv_interval_s
        if least is not None and least > most:
            raise ValueError(f"min_rtr_adv_interval_s is {least}; expected at most {most}")
        if 0 < self.router_lifetime_s < self.max_rtr_adv_interval_s:
            raise ValueError(
                f"adv_default_lifetime_s is {self.adv_default_lifetime_s}; "
                f"expected 0, or at least {self.max_rtr_adv_interval_s}"
            )
        if self.adv_preferred_lifetime_s > self.adv_valid_lifetime_s:
            raise ValueError(
                f"adv_preferred_lifetime_s is {self.adv_preferred_lifetime_s}; "
                f"expected at most the valid lifetime, {self.adv_valid_lifetime_s}"
            )

    @property
    def min_interval_s(self) -> float:
        if self.min_rtr_adv_interval_s is not None:
            return self.min_rtr_adv_interval_s
        most = self.max_rtr_adv_interval_s
        return 0.33 * most if most >= 9 else float(most)

    @property
    def router_lifetime_s(self) -> int:
        default = min(3 * self.max_rtr_adv_interval_s, 9_000)
        return default if self.adv_default_lifetime_s is None else self.adv_default_lifetime_s
