"""Which addresses of the network this service may be led to by what others write."""

from __future__ import annotations

import ipaddress

_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that is given out of the internet's newer addresses; whatever lies outside is for some use of its own."""
_NOT_FOR_US = (
    ipaddress.ip_network("168.63.129.16/32"),  # a cloud's own services for its machines, on a public address
    ipaddress.ip_network("192.0.0.0/24"),
)


def is_public(address: str) -> bool:
    """Tell whether an IP address is one of the open internet.

    None of this machine, its network, its provider's services for it, and none that is such an address in disguise.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if found not in _UNICAST or found.sixtofour is not None or found.teredo is not None:
            return False
    if any(found in network for network in _NOT_FOR_US if network.version == found.version):
        return False
    return found.is_global and not (
        found.is_multicast or found.is_reserved or found.is_unspecified or found.is_loopback or found.is_link_local
    )
