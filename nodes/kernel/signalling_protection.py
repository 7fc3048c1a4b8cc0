"""Puts the protection of the signalling of LMA and MAG into the kernel, before sockets open."""

from __future__ import annotations

import errno
from collections.abc import Collection, Sequence
from ipaddress import IPv6Address, IPv6Network

from nodes.ipsec.config import Ipsec
from nodes.ipsec.policies import (
    Protected,
    Role,
    from_associations,
    from_key_manager,
    request_identifiers,
)
from nodes.ipsec.security_associations import SecurityAssociation, read_keys
from nodes.kernel.netlink import NETLINK_XFRM, carry_out, open_channel
from nodes.kernel.netlink_replies import NetlinkError
from nodes.kernel.xfrm import ANYBODY, Traffic, new_association, protect, refuse


def protect_signalling(
    config: Ipsec | None,
    role: Role,
    local: Collection[IPv6Address],
    peers: Collection[IPv6Address],
) -> None:
    """From now on, the kernel drops Mobility Headers to the `local` addresses that aren't protected
    as they have to be, and sends none without protection. So it stays when the daemon ends.

    Raises InputError for keys that can't be used, OSError for a file that can't be read, and
    NetlinkError.
    """
    if config is None:
        return
    file, keys = config.security_associations, list[SecurityAssociation]()
    if file is None:
        policies = from_key_manager(role, local, request_identifiers(peers))
    else:
        keys = read_keys(file)
        policies = from_associations(role, local, peers, keys, str(file))
    _install(local, policies, keys)


def _install(
    local: Collection[IPv6Address],
    policies: Sequence[Protected],
    keys: Sequence[SecurityAssociation],
) -> None:
    requests = []
    for own in map(IPv6Network, dict.fromkeys(local)):
        requests.append(refuse(Traffic(ANYBODY, own), "in"))
        requests.append(refuse(Traffic(own, ANYBODY), "out"))
    for source, destination, reqid, types in policies:
        ends = IPv6Network(source), IPv6Network(destination)
        if destination in local:
            # All types: Linux 6.8 and later see none in what arrives, for them it is always 0.
            requests.append(protect(Traffic(*ends), "in", reqid))
        else:
            requests += [protect(Traffic(*ends, kind), "out", reqid) for kind in types]
    with open_channel(NETLINK_XFRM) as channel:
        carry_out(channel, requests)
        for sa in keys:
            try:
                carry_out(channel, [new_association(sa, sa.spi)])
            except NetlinkError as error:
                # It is there from before a restart. Made anew, it would begin with sequence number
                # 1 again: the peer would take all for replays, and nonces would be used twice.
                if error.errno != errno.EEXIST:
                    raise
