"""Who is sent which Authorization: read from the configuration, rkt's auth.d and netrc, chosen by host."""

from acistore.net.credentials.access import Access, Doorkeeper

__all__ = ["Access", "Doorkeeper"]
