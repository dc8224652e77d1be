"""What a store consists of, in one value that each job is given: the index, the packs, the working directories."""

from dataclasses import dataclass

from acistore.store.packs import PackStorage
from acistore.store.sqlite import Database
from acistore.store.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Disk:
    """The three places that a store keeps its bytes in."""

    database: Database
    packs: PackStorage
    workspace: Workspace
