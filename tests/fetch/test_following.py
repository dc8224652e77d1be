"""What a program that embeds the fetcher gets to know: decisions, and a log in which one fetch can be followed."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from acistore.errors import UntrustedSigner
from acistore.fetch import Fetcher
from tests.fetch.conftest import Operator, Unsteady, app
from tests.gpg import SigningKey
from tests.images import image


def decided(operator: Operator) -> list[tuple[str, str]]:
    return [(about, what) for about, what, _why in operator.decisions]


def test_decisions_are_told(unsteady: Unsteady, trusting: Operator) -> None:
    file, _ = unsteady.publish(app())
    file.cuts = [100]
    url = unsteady.url()
    trusting.fetch(url)
    trusting.fetch(url)
    assert decided(trusting) == [(url, "retry"), (url, "resume"), (url, "admit"), (url, "reuse")]
    whys = [why for _about, _what, why in trusting.decisions]
    assert "broke off after 100 bytes" in whys[0]
    assert whys[2] == f"signed by {unsteady.key.fingerprint}, which is trusted for example.com"


def test_a_refusal_is_told_with_its_reason(unsteady: Unsteady, trusting: Operator, stranger: SigningKey) -> None:
    unsteady.publish(app(), key=stranger)
    with pytest.raises(UntrustedSigner):
        trusting.fetch(unsteady.url())
    [(about, what, why)] = trusting.decisions
    assert (about, what) == (unsteady.url(), "refuse")
    assert "is signed by" in why


def test_the_next_place_is_told(unsteady: Unsteady, trusting: Operator) -> None:
    unsteady.page("https://example.com/gone.{ext}", "https://example.com/app.{ext}")
    unsteady.publish(image("example.com/app", labels={"version": "1.0", "os": "linux", "arch": "amd64"}))
    trusting.fetch("example.com/app:1.0,os=linux,arch=amd64")
    assert [what for _about, what in decided(trusting)] == ["next place", "admit"]


def test_the_log_tells_one_fetch_from_another(
    unsteady: Unsteady, trusting: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "abc":
        unsteady.publish(image(f"example.com/{name}", {"x": name.encode()}), f"{name}.aci")
    unsteady.site.files["/b.aci"].cuts = [10]
    with caplog.at_level(logging.DEBUG, "acistore"):
        trusting.fetch_all(*[unsteady.url(f"{name}.aci") for name in "abc"])
        trusting.fetch_all(unsteady.url("a.aci"))
    told = [record for record in caplog.records if hasattr(record, "event")]
    assert len({record.__dict__["fetch"] for record in told}) == 2
    first = told[0].__dict__["fetch"]
    of_b = [
        record.__dict__["event"]
        for record in told
        if record.__dict__["image"] == unsteady.url("b.aci") and record.__dict__["fetch"] == first
    ]
    assert of_b == ["request", "request", "retry", "request", "resume", "admit"]
    assert all(record.name.startswith("acistore.") for record in told)


def test_a_warning_before_anything_is_asked_says_of_which_fetch_it_is(
    trusting: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.aci").touch()
    trusting.fetch_all("app.aci")
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "./app.aci" in warning.getMessage()
    assert warning.__dict__["image"] == "app.aci"
    assert warning.__dict__["fetch"]


def test_it_all_works_without_anybody_who_is_told(unsteady: Unsteady, trusting: Operator) -> None:
    unsteady.publish(app())
    config = replace(trusting.config, jobs=1)
    assert Fetcher(trusting.store, trusting.trust, config).fetch(unsteady.url()).name == "example.com/app"
