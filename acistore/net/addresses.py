"""Which addresses anybody on the Internet could have reached, and which are of this machine or its neighbourhood.

For the rule that a public server must not send us to a private one, whose answers are not for everybody: the
router's pages, a cloud's metadata, what listens on this machine alone. Pure: asks no name server.
"""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import unquote

# What the registries of special-purpose addresses (RFC 6890 and its followers) list as not globally reachable, and
# multicast, which no server has. Kept here, since Python's own list depends on its version.
_NOT_GLOBAL = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
        ),
    )
)
_GLOBAL_6 = IPv6Network("2000::/3")
_NOT_GLOBAL_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
# What systems call themselves.
_OWN_NAMES = frozenset(
    {"localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback"}
)
# An IPv4 address stands in the last 32 bits of these: IPv4-mapped, NAT64.
_EMBEDDING = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))


def is_public(address: str) -> bool:
    """Whether an address, as sockets tell it, is one of the whole Internet. An IPv4 address that is written within
    an IPv6 one (IPv4-mapped, NAT64, 6to4) counts as itself."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        embedded = _embedded(parsed)
        if embedded is None:
            return parsed in _GLOBAL_6 and not any(parsed in network for network in _NOT_GLOBAL_6)
        parsed = embedded
    return not any(parsed in network for network in _NOT_GLOBAL)


def is_evidently_private(host: str) -> bool:
    """Whether the host of a URL is a private address or a name for this machine.

    Or an address in a notation of its own (`0x7f.1`, `010.0.0.1`), which programs read in different ways, and
    nobody writes who has nothing to hide. What other names stand for can't be seen from them.
    """
    name = unquote(host).strip("[]").rstrip(".").lower()
    if name in _OWN_NAMES:
        return True
    if name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name.partition("%")[0])
    except ValueError:
        return _is_address_for_the_system(name)
    return not is_public(str(address))


def _is_address_for_the_system(name: str) -> bool:
    try:
        socket.inet_aton(name)
    except (OSError, ValueError):
        return False
    return True


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if any(address in network for network in _EMBEDDING):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour
