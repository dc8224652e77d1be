"""HTTP mechanics: what is fetched, and whether it can be trusted, is decided by the rooms above."""

from acistore.net.client import Client, Response
from acistore.net.transfer import Progress, Transfer, download

__all__ = ["Client", "Progress", "Response", "Transfer", "download"]
