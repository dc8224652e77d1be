import pytest
from acistore.errors import *
from tests.fetch.conftest import HOST, LABELS, NAME
from tests.images import image

def version(number, created=None, body=b"", **labels):
    given = {**LABELS, **labels, "version": number or ""}
    annotations = [{"name": "created", "value": created}] if created else []
    return image(NAME, {"etc/app": (number or "none").encode() + body},
        labels={l: v for l, v in given.items() if v}, annotations=annotations)

@pytest.fixture
def trusting(operator, publisher):
    operator.trusts(publisher.key); return operator

def offer(publisher, archive): publisher.publish(archive, version="latest")

def test_extra_label(publisher, trusting):
    offer(publisher, version("2.0", "2026-01-01T00:00:00Z"))
    trusting.fetch(NAME)
    offer(publisher, version("1.0", "2020-01-01T00:00:00Z", channel="beta"))
    with pytest.raises(DowngradeRefused):
        trusting.fetch(NAME)

def test_extra_label_store_gives_it(publisher, trusting):
    offer(publisher, version("2.0", "2026-01-01T00:00:00Z"))
    trusting.fetch(NAME)
    publisher.publish(version("1.0", "2020-01-01T00:00:00Z", channel="beta"), version="1.0")
    trusting.fetch(NAME+":1.0")
    print(trusting.fetch(NAME, pull_policy="never").labels)
    # 2.0 removed: never hands out the other family?
    trusting.store.remove([trusting.store.get(NAME+":2.0")])
    with pytest.raises(AcistoreError):
        print(trusting.fetch(NAME, pull_policy="never").labels)

def test_chain_created_then_none_then_older(publisher, trusting):
    offer(publisher, version("2.0", "2026-01-01T00:00:00Z")); trusting.fetch(NAME)
    offer(publisher, version("2.0", None, b"x"))
    trusting.fetch(NAME)
    offer(publisher, version("2.0", "2019-01-01T00:00:00Z", b"y"))
    with pytest.raises(DowngradeRefused):
        trusting.fetch(NAME)

def test_chain_version(publisher, trusting):
    # created newer than all but without version, then old version
    offer(publisher, version("2.0", None)); trusting.fetch(NAME)
    offer(publisher, version(None, "2018-01-01T00:00:00Z"))
    try: trusting.fetch(NAME)
    except DowngradeRefused: print("refused none-version")
    offer(publisher, version("2.0", "2018-01-01T00:00:00Z", b"z")); trusting.fetch(NAME)
    offer(publisher, version(None, "2018-01-01T00:00:01Z", b"z")); trusting.fetch(NAME)
    offer(publisher, version("1.0", "2018-01-01T00:00:02Z", b"z"))
    trusting.fetch(NAME)
    offer(publisher, version("1.0", None, b"zz"))
    trusting.fetch(NAME)

def test_empty_version(publisher, trusting):
    offer(publisher, version("2.0", None)); trusting.fetch(NAME)
    given = {**LABELS, "version": ""}
    arch = image(NAME, {"etc/app": b"old"}, labels=given)
    offer(publisher, arch)
    publisher.publish(arch, version="")
    with pytest.raises(DowngradeRefused):
        trusting.fetch(NAME)
    with pytest.raises(DowngradeRefused):
        trusting.fetch(NAME + ":")

def test_label_latest(publisher, trusting):
    offer(publisher, version("2.0", None)); trusting.fetch(NAME)
    offer(publisher, version("latest", None, b"old"))
    with pytest.raises(DowngradeRefused):
        trusting.fetch(NAME)

def test_version_that_sorts_high(publisher, trusting):
    # an old nightly of the publisher's
    offer(publisher, version("2.0")); trusting.fetch(NAME)
    for v in ("nightly", "20190101", "testing", "2.0a1", "2.0.post", "2.0-1", "2..0", "2.0+old", "02.0"):
        offer(publisher, version(v, None, v.encode()))
        try: trusting.fetch(NAME); print("admitted", v); 
        except DowngradeRefused as e: print("refused", v)
        offer(publisher, version("2.0")); trusting.fetch(NAME, allow_downgrade=True)
