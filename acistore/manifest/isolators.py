"""Isolators: the limits and privileges that an app asks for, each with rules for its value.

The rules are those of appc spec, ace.md § Isolators; an isolator that the spec doesn't define is refused, as
the reference implementation refuses it. Values are checked, not interpreted: nothing is run here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from acistore.manifest.fields import Field, shown
from acistore.manifest.values import check_quantity
from acistore.naming import quoted

_ERRNO = re.compile("E[A-Z0-9]*")


@dataclass(frozen=True, slots=True)
class Isolator:
    """An isolator by name, and its value as it stands in the manifest."""

    name: str
    value: object

    def canonical(self) -> dict[str, object]:
        """The JSON object that the reference implementation writes."""
        return {"name": self.name, "value": self.value}


@dataclass(frozen=True, slots=True)
class _Rule:
    check: Callable[[Field], object]
    once: bool = False
    excludes: str | None = None


def read_isolators(app: Field) -> tuple[Isolator, ...]:
    """The isolators of an app: known, right in themselves, and right together. Raises InvalidManifest."""
    isolators: list[Isolator] = []
    seen: set[str] = set()
    for element in app.elements("isolators"):
        field = element.required("name")
        name = field.text()
        rule = _RULES.get(name)
        if rule is None:
            raise field.refusal(f"{quoted(name)} is not an isolator of the spec")
        if rule.once and name in seen:
            raise field.refusal(f"{quoted(name)} is given twice")
        if rule.excludes in seen:
            raise field.refusal(f"{quoted(name)} can't stand beside {rule.excludes}")
        seen.add(name)
        value = element.required("value")
        rule.check(value)
        isolators.append(Isolator(name, value.value))
    return tuple(isolators)


def _check_resource(value: Field) -> None:
    default = value.optional("default")
    if default is not None and default.boolean():
        raise default.refusal("has to be false for this isolator")
    for name in ("request", "limit"):
        _check_amount(value.optional(name))


def _check_device_limit(value: Field) -> None:
    default = value.required("default")
    if not default.boolean():
        raise default.refusal("has to be true for this isolator")
    request = value.optional("request")
    if request is not None:
        raise request.refusal("is not supported by this isolator")
    _check_amount(value.optional("limit"))


def _check_amount(amount: Field | None) -> None:
    if amount is None:
        return
    if isinstance(amount.value, int | float) and not isinstance(amount.value, bool):
        amount = Field(amount.path, str(amount.value))
    amount.checked(check_quantity)


def _check_set(value: Field) -> None:
    entries = value.required("set")
    if not entries.texts():
        raise entries.refusal("is empty")


def _check_seccomp(value: Field) -> None:
    _check_set(value)
    errno = value.optional("errno")
    if errno is not None and errno.text() and _ERRNO.fullmatch(errno.text()) is None:
        raise errno.refusal(f"{shown(errno.value)} is not the name of an error such as EPERM")


def _check_selinux(value: Field) -> None:
    for name in ("user", "role", "type"):
        part = value.required(name)
        if ":" in part.filled_text():
            raise part.refusal(f"{shown(part.value)} has a colon")
    value.required("level").filled_text()


_RULES = {
    "resource/block-bandwidth": _Rule(_check_device_limit),
    "resource/block-iops": _Rule(_check_device_limit),
    "resource/cpu": _Rule(_check_resource),
    "resource/memory": _Rule(_check_resource),
    "resource/network-bandwidth": _Rule(_check_device_limit),
    "os/linux/capabilities-retain-set": _Rule(_check_set, excludes="os/linux/capabilities-remove-set"),
    "os/linux/capabilities-remove-set": _Rule(_check_set, excludes="os/linux/capabilities-retain-set"),
    "os/linux/no-new-privileges": _Rule(Field.boolean),
    "os/linux/seccomp-retain-set": _Rule(_check_seccomp, once=True, excludes="os/linux/seccomp-remove-set"),
    "os/linux/seccomp-remove-set": _Rule(_check_seccomp, once=True, excludes="os/linux/seccomp-retain-set"),
    "os/linux/oom-score-adj": _Rule(lambda value: value.integer(-1000, 1000), once=True),
    "os/linux/cpu-shares": _Rule(lambda value: value.integer(2, 262144), once=True),
    "os/linux/selinux-context": _Rule(_check_selinux, once=True),
    "os/linux/apparmor-profile": _Rule(lambda value: value.required("profile").filled_text(), once=True),
    "os/unix/sysctl": _Rule(Field.text_map, once=True),
}
