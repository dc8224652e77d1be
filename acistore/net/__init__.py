"""HTTP mechanics: what is fetched, and whether it can be trusted, is decided by the rooms above."""

from acistore.net.answers import Response
from acistore.net.client import Client
from acistore.net.transfer import Transfer, download

__all__ = ["Client", "Response", "Transfer", "download"]
