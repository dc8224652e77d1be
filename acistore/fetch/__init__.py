"""The job itself: names, URLs and files become images in the store. The story is in fetcher.py."""

from acistore.fetch.asked import Asked
from acistore.fetch.fetched import Fetched, Outcome
from acistore.fetch.fetcher import Fetcher

__all__ = ["Asked", "Fetched", "Fetcher", "Outcome"]
