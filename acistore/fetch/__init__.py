"""The job itself: a name, a URL or a file becomes an image in the store. The story is in fetcher.py."""

from acistore.fetch.asked import Asked
from acistore.fetch.fetcher import Fetched, Fetcher, FetchProgress

__all__ = ["Asked", "FetchProgress", "Fetched", "Fetcher"]
