"""Signed container images by name, without a registry: discover, verify, store.

Each public name is loaded on first use, since what is behind some of them takes a while to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acistore import errors
    from acistore.config import Config
    from acistore.discovery import Resolver
    from acistore.errors import AcistoreError
    from acistore.fetch import Fetched, Fetcher
    from acistore.keys import KeyMaterial, discover_keys, read_key
    from acistore.manifest import ImageManifest
    from acistore.naming import ImageID, ImageName
    from acistore.net.client import Client
    from acistore.store import Store, StoredImage
    from acistore.trust.keystore import TrustStore

__version__ = "0.1.0"

__all__ = [
    "AcistoreError",
    "Client",
    "Config",
    "Fetched",
    "Fetcher",
    "ImageID",
    "ImageManifest",
    "ImageName",
    "KeyMaterial",
    "Resolver",
    "Store",
    "StoredImage",
    "TrustStore",
    "__version__",
    "discover_keys",
    "errors",
    "read_key",
]

_HOMES = {
    "AcistoreError": "errors",
    "Client": "net.client",
    "Config": "config",
    "Fetched": "fetch",
    "Fetcher": "fetch",
    "ImageID": "naming",
    "ImageManifest": "manifest",
    "ImageName": "naming",
    "KeyMaterial": "keys",
    "Resolver": "discovery",
    "Store": "store",
    "StoredImage": "store",
    "TrustStore": "trust.keystore",
    "discover_keys": "keys",
    "read_key": "keys",
}


def __getattr__(name: str) -> object:
    if name == "errors":
        return import_module("acistore.errors")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
