"""App: how an image is run, and the isolators that go with it."""

import json
from typing import Any

import pytest

from acistore.errors import InvalidManifest
from acistore.manifest import App, EventHandler, ImageManifest, Isolator, MountPoint, Port

SMALLEST: dict[str, Any] = {"user": "0", "group": "0"}
PORT: dict[str, Any] = {"name": "http", "protocol": "tcp", "port": 80}


def parse(**fields: object) -> App:
    manifest = {"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "a", "app": SMALLEST | fields}
    app = ImageManifest.parse(json.dumps(manifest).encode()).app
    assert app is not None
    return app


def message_of_refusal(**fields: object) -> str:
    with pytest.raises(InvalidManifest) as caught:
        parse(**fields)
    return caught.value.message


def pair(name: object, value: object) -> dict[str, object]:
    return {"name": name, "value": value}


def test_smallest_app_has_a_user_and_a_group() -> None:
    app = parse()
    assert (app.user, app.group, app.exec, app.working_directory) == ("0", "0", None, "")
    assert (app.environment, app.user_labels, app.user_annotations) == ({}, {}, {})
    assert app.canonical() == {"exec": None, "user": "0", "group": "0"}


def test_command_without_arguments_is_not_the_same_as_no_command() -> None:
    assert parse(exec=[]).canonical()["exec"] == []
    assert parse(exec=None).canonical()["exec"] is None


def test_fields_of_an_app_are_read() -> None:
    app = parse(
        exec=["/bin/sh", "-c", ""],
        supplementaryGids=[400, 0],
        workingDirectory="/opt",
        environment=[pair("B", "2"), pair("A", "")],
        eventHandlers=[{"name": "post-stop"}, {"name": "pre-start", "exec": ["/x"]}],
        mountPoints=[{"name": "work", "path": "/w"}, {"name": "ro", "path": "/r", "readOnly": True}],
        userAnnotations={"a b": "c"},
        userLabels={"": "y"},
    )
    assert app.exec == ("/bin/sh", "-c", "")
    assert app.supplementary_gids == (400, 0)
    assert app.working_directory == "/opt"
    assert list(app.environment.items()) == [("B", "2"), ("A", "")]
    assert app.event_handlers == (EventHandler("post-stop", None), EventHandler("pre-start", ("/x",)))
    assert app.mount_points == (MountPoint("work", "/w", False), MountPoint("ro", "/r", True))
    assert (app.user_annotations, app.user_labels) == ({"a b": "c"}, {"": "y"})


def test_ports_are_one_unless_counted() -> None:
    app = parse(ports=[PORT, PORT | {"port": 65000, "count": 536, "socketActivated": True}])
    assert app.ports == (Port("http", "tcp", 80, 1, False), Port("http", "tcp", 65000, 536, True))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"user": None}, "app.user: is missing"),
        ({"user": ""}, "app.user: is empty"),
        ({"group": 0}, "app.group: 0 is not a string"),
        ({"exec": "/bin/sh"}, 'app.exec: "/bin/sh" is not a list'),
        ({"exec": ["a", None]}, "app.exec[1]: null is not a string"),
        ({"supplementaryGIDs": [1, -1]}, "app.supplementaryGIDs[1]: -1 is not in 0.."),
        ({"workingDirectory": "opt"}, 'app.workingDirectory: "opt" is not an absolute path'),
        ({"environment": [pair("1", "x")]}, 'app.environment[0].name: "1" is not the name of a variable'),
        ({"environment": [pair("A", "1"), pair("A", "1")]}, 'app.environment[1].name: "A" is given twice'),
        ({"environment": [{"name": "A"}]}, "app.environment[0].value: is missing"),
        ({"eventHandlers": [{"name": "x"}]}, 'app.eventHandlers[0].name: "x" is neither pre-start nor'),
        ({"eventHandlers": [{"name": "pre-start"}] * 2}, 'app.eventHandlers[1].name: "pre-start" is given'),
        ({"eventHandlers": [{"exec": []}]}, "app.eventHandlers[0].name: is missing"),
        ({"mountPoints": [{"path": "/a"}]}, "app.mountPoints[0].name: is missing"),
        (
            {"mountPoints": [{"name": "a_b", "path": "/a"}]},
            'app.mountPoints[0].name: "a_b" is not an AC name',
        ),
        ({"mountPoints": [{"name": "a", "path": ""}]}, "app.mountPoints[0].path: is empty"),
        ({"mountPoints": [{"name": "a", "path": "/", "readOnly": 1}]}, "app.mountPoints[0].readOnly: 1 is"),
        ({"ports": [PORT | {"port": 70000}]}, "app.ports[0].port: 70000 is not in 1..65535"),
        ({"ports": [PORT, PORT | {"port": 0}]}, "app.ports[1].port: 0 is not in 1..65535"),
        ({"ports": [PORT | {"port": "80"}]}, 'app.ports[0].port: "80" is not an integer'),
        ({"ports": [PORT | {"count": 0}]}, "app.ports[0].count: 0 is not in 1..65535"),
        ({"ports": [PORT | {"port": 65535, "count": 2}]}, "app.ports[0].count: 2 ports from 65535 on go"),
        ({"ports": [PORT | {"name": "HTTP"}]}, 'app.ports[0].name: "HTTP" is not an AC name'),
        ({"ports": [PORT | {"protocol": None}]}, "app.ports[0].protocol: is missing"),
        ({"ports": [PORT | {"socketActivated": "no"}]}, 'app.ports[0].socketActivated: "no" is neither'),
        ({"userLabels": {"x": 1}}, 'app.userLabels["x"]: 1 is not a string'),
        ({"userAnnotations": []}, "app.userAnnotations: a list is not an object"),
    ],
)
def test_error_begins_with_the_field(fields: dict[str, object], message: str) -> None:
    assert message_of_refusal(**fields).startswith(message)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("resource/cpu", {"request": "250m", "limit": 2}),
        ("resource/memory", {"default": False, "limit": "2G", "request": None}),
        ("resource/block-bandwidth", {"default": True, "limit": "2M"}),
        ("resource/block-iops", {"default": True, "limit": "1000", "future": [1]}),
        ("resource/network-bandwidth", {"default": True, "request": None}),
        ("os/linux/capabilities-retain-set", {"set": ["CAP_NET_ADMIN"]}),
        ("os/linux/capabilities-remove-set", {"set": ["CAP_MKNOD"]}),
        ("os/linux/no-new-privileges", False),
        ("os/linux/seccomp-retain-set", {"set": ["@appc.io/all"], "errno": ""}),
        ("os/linux/seccomp-remove-set", {"set": ["reboot"], "errno": "E2BIG"}),
        ("os/linux/oom-score-adj", -1000),
        ("os/linux/cpu-shares", 262144),
        ("os/linux/selinux-context", {"user": "u", "role": "r", "type": "t", "level": "s0-s0:c0"}),
        ("os/linux/apparmor-profile", {"profile": "rkt-default"}),
        ("os/unix/sysctl", {"net.ipv4.tcp_mtu_probing": "1"}),
    ],
)
def test_isolator_of_the_spec_keeps_its_value(name: str, value: object) -> None:
    app = parse(isolators=[pair(name, value)])
    assert app.isolators == (Isolator(name, value),)
    assert app.canonical()["isolators"] == [pair(name, value)]


SELINUX: dict[str, object] = {"user": "u", "role": "r", "type": "t", "level": "s0"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("example.com/custom", 1, '.name: "example.com/custom" is not an isolator of the spec'),
        ("resource/cpu", None, ".value: is missing"),
        ("resource/cpu", 1, ".value: 1 is not an object"),
        ("resource/cpu", {"default": True}, ".value.default: has to be false for this isolator"),
        ("resource/memory", {"limit": "2X"}, '.value.limit: "2X" is not a quantity'),
        ("resource/memory", {"request": True}, ".value.request: true is not a string"),
        ("resource/block-iops", {"limit": "1"}, ".value.default: is missing"),
        ("resource/block-bandwidth", {"default": False}, ".value.default: has to be true"),
        ("resource/network-bandwidth", {"default": True, "request": "1"}, ".value.request: is not supported"),
        ("os/linux/capabilities-remove-set", {}, ".value.set: is missing"),
        ("os/linux/capabilities-retain-set", {"set": []}, ".value.set: is empty"),
        ("os/linux/capabilities-retain-set", {"set": [1]}, ".value.set[0]: 1 is not a string"),
        ("os/linux/no-new-privileges", "true", '.value: "true" is neither true nor false'),
        ("os/linux/seccomp-retain-set", {"set": ["a"], "errno": "PERM"}, '.value.errno: "PERM" is not'),
        ("os/linux/seccomp-remove-set", {"set": ["a"], "errno": "Eperm"}, '.value.errno: "Eperm" is not'),
        ("os/linux/oom-score-adj", 1001, ".value: 1001 is not in -1000..1000"),
        ("os/linux/cpu-shares", 1, ".value: 1 is not in 2..262144"),
        ("os/linux/cpu-shares", 2.0, ".value: 2.0 is not an integer"),
        ("os/linux/selinux-context", SELINUX | {"type": "a:b"}, '.value.type: "a:b" has a colon'),
        ("os/linux/selinux-context", SELINUX | {"role": ""}, ".value.role: is empty"),
        ("os/linux/selinux-context", SELINUX | {"level": None}, ".value.level: is missing"),
        ("os/linux/apparmor-profile", {"profile": ""}, ".value.profile: is empty"),
        ("os/unix/sysctl", {"a.b": 1}, '.value["a.b"]: 1 is not a string'),
    ],
)
def test_error_of_an_isolator_begins_with_its_field(name: str, value: object, message: str) -> None:
    assert message_of_refusal(isolators=[pair(name, value)]).startswith(f"app.isolators[0]{message}")


def test_limits_may_be_given_more_than_once() -> None:
    assert len(parse(isolators=[pair("resource/cpu", {"limit": "1"})] * 2).isolators) == 2


def test_isolator_that_stands_alone_is_refused_twice() -> None:
    twice = [pair("os/linux/cpu-shares", 2)] * 2
    assert message_of_refusal(isolators=twice) == ('app.isolators[1].name: "os/linux/cpu-shares" is given twice')


@pytest.mark.parametrize("kind", ["seccomp", "capabilities"])
@pytest.mark.parametrize(("first", "second"), [("retain", "remove"), ("remove", "retain")])
def test_set_to_retain_excludes_a_set_to_remove(kind: str, first: str, second: str) -> None:
    both = [pair(f"os/linux/{kind}-{which}-set", {"set": ["x"]}) for which in (first, second)]
    assert message_of_refusal(isolators=both) == (
        f'app.isolators[1].name: "os/linux/{kind}-{second}-set" can\'t stand beside os/linux/{kind}-{first}-set'
    )
