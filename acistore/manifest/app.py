"""App: how an image wants to be run (appc spec, aci.md § Image Manifest Schema, app)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from acistore.manifest.fields import Field, shown
from acistore.manifest.isolators import Isolator, read_isolators
from acistore.manifest.values import check_variable
from acistore.naming import check_name, quoted

_EVENTS = ("pre-start", "post-stop")
_LAST_PORT = 65535
_LARGEST_INT64 = 2**63 - 1


@dataclass(frozen=True, slots=True)
class EventHandler:
    """What is run before the app starts (`pre-start`) or after it has stopped (`post-stop`)."""

    name: str
    exec: tuple[str, ...] | None

    @classmethod
    def read(cls, field: Field) -> "EventHandler":
        """From an element of `eventHandlers`. Raises InvalidManifest."""
        name = field.required("name")
        if name.text() not in _EVENTS:
            raise name.refusal(f"{shown(name.value)} is neither {' nor '.join(_EVENTS)}")
        return cls(name.text(), _read_exec(field))

    def canonical(self) -> dict[str, object]:
        """The JSON object that the reference implementation writes."""
        return {"name": self.name, "exec": _canonical_exec(self.exec)}


@dataclass(frozen=True, slots=True)
class MountPoint:
    """Where the app expects data from outside; `path` is inside its rootfs."""

    name: str
    path: str
    read_only: bool

    @classmethod
    def read(cls, field: Field) -> "MountPoint":
        """From an element of `mountPoints`. Raises InvalidManifest."""
        read_only = field.optional("readOnly")
        return cls(
            name=field.required("name").checked(check_name),
            path=field.required("path").filled_text(),
            read_only=read_only is not None and read_only.boolean(),
        )

    def canonical(self) -> dict[str, object]:
        """The JSON object that the reference implementation writes."""
        return {"name": self.name, "path": self.path} | ({"readOnly": True} if self.read_only else {})


@dataclass(frozen=True, slots=True)
class Port:
    """Ports that the app listens on: `count` of them from `port` on, all in 1..65535."""

    name: str
    protocol: str
    port: int
    count: int
    socket_activated: bool

    @classmethod
    def read(cls, field: Field) -> "Port":
        """From an element of `ports`. Raises InvalidManifest."""
        port = field.required("port").integer(1, _LAST_PORT)
        count = field.optional("count")
        many = 1 if count is None else count.integer(1, _LAST_PORT)
        if count is not None and port + many - 1 > _LAST_PORT:
            raise count.refusal(f"{many} ports from {port} on go beyond {_LAST_PORT}")
        activated = field.optional("socketActivated")
        return cls(
            name=field.required("name").checked(check_name),
            protocol=field.required("protocol").filled_text(),
            port=port,
            count=many,
            socket_activated=activated is not None and activated.boolean(),
        )

    def canonical(self) -> dict[str, object]:
        """The JSON object that the reference implementation writes."""
        return {
            "name": self.name,
            "protocol": self.protocol,
            "port": self.port,
            "count": self.count,
            "socketActivated": self.socket_activated,
        }


@dataclass(frozen=True, slots=True)
class App:
    """The default parameters that an image is run with; None and empty where the manifest says nothing."""

    exec: tuple[str, ...] | None
    user: str
    group: str
    supplementary_gids: tuple[int, ...]
    event_handlers: tuple[EventHandler, ...]
    working_directory: str
    environment: Mapping[str, str]
    mount_points: tuple[MountPoint, ...]
    ports: tuple[Port, ...]
    isolators: tuple[Isolator, ...]
    user_annotations: Mapping[str, str]
    user_labels: Mapping[str, str]

    @classmethod
    def read(cls, field: Field) -> "App":
        """From the object `app` of an image manifest. Raises InvalidManifest."""
        environment = field.named_values("environment", check_variable)
        return cls(
            exec=_read_exec(field),
            user=field.required("user").filled_text(),
            group=field.required("group").filled_text(),
            supplementary_gids=tuple(
                gid.integer(0, _LARGEST_INT64) for gid in field.elements("supplementaryGIDs")
            ),
            event_handlers=_read_event_handlers(field),
            working_directory=_read_working_directory(field),
            environment=MappingProxyType({name: value.text() for name, value in environment.items()}),
            mount_points=tuple(MountPoint.read(element) for element in field.elements("mountPoints")),
            ports=tuple(Port.read(element) for element in field.elements("ports")),
            isolators=read_isolators(field),
            user_annotations=_read_map(field, "userAnnotations"),
            user_labels=_read_map(field, "userLabels"),
        )

    def canonical(self) -> dict[str, object]:
        """The JSON object that the reference implementation writes."""
        optional: dict[str, object] = {
            "eventHandlers": [handler.canonical() for handler in self.event_handlers],
            "supplementaryGIDs": list(self.supplementary_gids),
            "workingDirectory": self.working_directory,
            "environment": [{"name": name, "value": value} for name, value in self.environment.items()],
            "mountPoints": [mount_point.canonical() for mount_point in self.mount_points],
            "ports": [port.canonical() for port in self.ports],
            "isolators": [isolator.canonical() for isolator in self.isolators],
            "userAnnotations": dict(self.user_annotations),
            "userLabels": dict(self.user_labels),
        }
        required = {"exec": _canonical_exec(self.exec), "user": self.user, "group": self.group}
        return required | {name: value for name, value in optional.items() if value}


def _read_exec(owner: Field) -> tuple[str, ...] | None:
    field = owner.optional("exec")
    return None if field is None else field.texts()


def _canonical_exec(arguments: tuple[str, ...] | None) -> list[str] | None:
    return None if arguments is None else list(arguments)


def _read_event_handlers(app: Field) -> tuple[EventHandler, ...]:
    handlers: dict[str, EventHandler] = {}
    for element in app.elements("eventHandlers"):
        handler = EventHandler.read(element)
        if handler.name in handlers:
            raise element.required("name").refusal(f"{quoted(handler.name)} is given twice")
        handlers[handler.name] = handler
    return tuple(handlers.values())


def _read_working_directory(app: Field) -> str:
    field = app.optional("workingDirectory")
    if field is None or field.text() == "":
        return ""
    if not field.text().startswith("/"):
        raise field.refusal(f"{shown(field.value)} is not an absolute path")
    return field.text()


def _read_map(app: Field, name: str) -> Mapping[str, str]:
    field = app.optional(name)
    return MappingProxyType({} if field is None else field.text_map())
