"""The version, in the one place from which package, command and User-Agent take it."""

__version__ = "0.1.0"
