"""The image manifest: the schema of the appc spec 0.8.11, read and validated; nothing is run or looked up."""

from acistore.manifest.app import App, EventHandler, MountPoint, Port
from acistore.manifest.image import Dependency, ImageManifest
from acistore.manifest.isolators import Isolator

__all__ = ["App", "Dependency", "EventHandler", "ImageManifest", "Isolator", "MountPoint", "Port"]
