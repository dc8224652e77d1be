"""Users of this machine, whom a forked process can become: `command("list", become=alice.become)`.

They need no entry in the user database, and have no home.
"""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class User:
    """A user by number, with the groups, of which the first is the user's own, and the umask of the session."""

    uid: int
    groups: tuple[int, ...]
    umask: int = 0o022

    def become(self) -> None:
        """Makes this process one of the user's, for good."""
        os.environ.pop("HOME", None)
        os.umask(self.umask)
        os.chdir("/")
        os.setgroups(list(self.groups))
        os.setresgid(self.groups[0], self.groups[0], self.groups[0])
        os.setresuid(self.uid, self.uid, self.uid)
