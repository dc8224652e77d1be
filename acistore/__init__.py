"""Signed container images by name, without a registry: discover, verify, store.

Each public name is loaded on first use, since what is behind some of them takes a while to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from acistore.version import __version__

if TYPE_CHECKING:
    from acistore import errors, keys
    from acistore.config import Config, GcRules, Host, Limits, Mirror, Policy
    from acistore.discovery import Resolver
    from acistore.errors import AcistoreError
    from acistore.fetch import Fetched, Fetcher, Outcome
    from acistore.keys import Confirm
    from acistore.manifest import ImageManifest
    from acistore.naming import ImageID, ImageName
    from acistore.net.client import Client
    from acistore.progress import Meter, Progress
    from acistore.store import Store, StoredImage
    from acistore.trust.keystore.store import TrustStore
    from acistore.trust.offers import Offer

__all__ = [
    "AcistoreError",
    "Client",
    "Config",
    "Confirm",
    "Fetched",
    "Fetcher",
    "GcRules",
    "Host",
    "ImageID",
    "ImageManifest",
    "ImageName",
    "Limits",
    "Meter",
    "Mirror",
    "Offer",
    "Outcome",
    "Policy",
    "Progress",
    "Resolver",
    "Store",
    "StoredImage",
    "TrustStore",
    "__version__",
    "errors",
    "keys",
]

_HOMES = {
    "AcistoreError": "errors",
    "Client": "net.client",
    "Config": "config",
    "Confirm": "keys",
    "Fetched": "fetch",
    "Fetcher": "fetch",
    "GcRules": "config",
    "Host": "config",
    "ImageID": "naming",
    "ImageManifest": "manifest",
    "ImageName": "naming",
    "Limits": "config",
    "Meter": "progress",
    "Mirror": "config",
    "Offer": "trust.offers",
    "Outcome": "fetch",
    "Policy": "config",
    "Progress": "progress",
    "Resolver": "discovery",
    "Store": "store",
    "StoredImage": "store",
    "TrustStore": "trust.keystore.store",
}


def __getattr__(name: str) -> object:
    if name in ("errors", "keys"):
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
