"""Trust: whose signatures count, and for which names. A file per job; what several need is in review and rows."""

import click

from acistore.cli.parameters import Group
from acistore.cli.trust import add, carry, check, explain, listing, mask, refresh, remove


@click.group(cls=Group)
def trust() -> None:
    """Manage the keys whose signatures admit images.

    A key is trusted for a prefix, which is a name and everything below it (example.com/app, also
    example.com/app/db, not example.com/apple), or as a root key for every name. Keys lie in plain directories,
    trustedkeys/ in the system, local and user configuration, as rkt has them.
    """


for _command in (
    *(add.add, listing.list_, listing.show, remove.remove, mask.mask, mask.unmask),
    *(refresh.refresh, check.check, explain.explain, carry.export, carry.import_),
):
    trust.add_command(_command)
