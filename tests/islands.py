"""Networks of a test's own, which nothing leaves: where this machine has addresses of the Internet.

    @on_an_island
    def test_something(island: Island) -> None:      # in a process of its own, which has just these addresses
        with island.serve(handler, PUBLIC) as server:
            …

Root does it as it is, anybody else as root of a user namespace.
"""

import ctypes
import os
import subprocess
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import trustme

from tests.forking import CONTEXT
from tests.programs import program
from tests.web import Handler, RawServer

# Addresses as servers of the Internet have them; here they are this machine's.
PUBLIC, OTHER_PUBLIC, PUBLIC_6 = "20.0.0.1", "20.0.0.2", "2a01::1"
# And such as no server of the Internet has.
PRIVATE, LOOPBACK, LINK_LOCAL, SHARED, PRIVATE_6 = (
    "10.0.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "fd00::1",
)
# Names, and what they stand for: the last has both kinds of addresses, the private one first.
NAMES = {
    "public.test": (PUBLIC,),
    "private.test": (PRIVATE,),
    "mixed.test": (PRIVATE, OTHER_PUBLIC),
}

_PATIENCE = 120.0
_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_MOUNTS, _NEW_USERS, _NEW_NETWORK = 0x0002_0000, 0x1000_0000, 0x4000_0000
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class Island:
    """A network of its own. `authority` signs its certificates, and is believed by this process."""

    authority: trustme.CA

    def serve(self, handler: Handler, address: str) -> RawServer:
        """A server on an address, with a certificate for all addresses and names there are."""
        addresses = [PUBLIC, OTHER_PUBLIC, PUBLIC_6, PRIVATE, LOOPBACK, LINK_LOCAL, SHARED, PRIVATE_6]
        certificate = self.authority.issue_cert(*addresses, *NAMES, "localhost")
        return RawServer(handler, certificate, address=address)


def on_an_island(scenario: Callable[[Island], None]) -> Callable[[], None]:
    """Makes a test of what is to be done on an island."""

    def test() -> None:
        with tempfile.NamedTemporaryFile("r", prefix="acistore-") as failure:
            names = (scenario.__module__, scenario.__name__)
            process = CONTEXT.Process(target=_enter, args=(names, failure.name))
            process.start()
            process.join(_PATIENCE)
            process.kill()
            process.join()
            said = failure.read()
            assert (process.exitcode, said) == (0, ""), said or f"the process ended with {process.exitcode}"

    test.__name__, test.__qualname__ = scenario.__name__, scenario.__qualname__
    test.__module__, test.__doc__ = scenario.__module__, scenario.__doc__
    vars(test)["scenario"] = scenario
    return test


def _enter(names: tuple[str, str], failure: str) -> None:
    """The other process: gets its network, and does what is to be done in it."""
    module, name = names
    try:
        warnings.simplefilter("error")
        _separate()
        with tempfile.TemporaryDirectory(prefix="acistore-") as top:
            _settle(Path(top))
            authority = trustme.CA()
            authority.cert_pem.write_to_path(f"{top}/authority.pem")
            os.environ["SSL_CERT_FILE"] = f"{top}/authority.pem"
            os.environ["NETRC"] = f"{top}/netrc"
            for variable in _PROXIES:
                os.environ.pop(variable, None)
                os.environ.pop(variable.lower(), None)
            vars(getattr(import_module(module), name))["scenario"](Island(authority))
    except BaseException:  # noqa: BLE001 - the test is told
        Path(failure).write_text(traceback.format_exc())
        raise SystemExit(1) from None


def _separate() -> None:
    user, group = os.geteuid(), os.getegid()
    wanted = _NEW_NETWORK | _NEW_MOUNTS | (0 if user == 0 else _NEW_USERS)
    if _LIBC.unshare(wanted) != 0:
        raise OSError(
            ctypes.get_errno(),
            "no network of its own can be given to this process: that takes root, "
            "or a system where users may make user namespaces",
        )
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def _settle(top: Path) -> None:
    """Gives the addresses to this process's loopback interface, and the names to its /etc/hosts."""
    ip, mount = program("ip"), program("mount")
    subprocess.run([ip, "link", "set", "lo", "up"], check=True)
    for address in (PUBLIC, OTHER_PUBLIC, PUBLIC_6, PRIVATE, LINK_LOCAL, SHARED, PRIVATE_6):
        bits, extra = (128, ["nodad"]) if ":" in address else (32, [])
        subprocess.run([ip, "address", "add", f"{address}/{bits}", "dev", "lo", *extra], check=True)
    hosts = top / "hosts"
    lines = [f"{address} {name}" for name, addresses in NAMES.items() for address in addresses]
    hosts.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
    subprocess.run([mount, "--make-rprivate", "/"], check=True)
    subprocess.run([mount, "--bind", hosts, "/etc/hosts"], check=True)
