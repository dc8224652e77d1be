"""What a failure on the way through a proxy is told as."""

import httpcore
import httpx
import pytest

from acistore.errors import ConnectionFailed
from acistore.net.failures import before_answer, proxy_authentication
from acistore.net.proxies import Proxies, Proxy
from tests.net.auth import SECRET

URL = "https://example.com/"


@pytest.fixture
def proxy(direct: None, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", f"http://name:{SECRET}@p.example:3128")
    found = Proxies().for_url(httpx.URL(URL))
    assert found
    return found


@pytest.mark.parametrize(
    "error",
    [httpcore.ProxyError("403 Forbidden"), httpcore.ConnectTimeout(), httpcore.ReadTimeout(), ValueError("x")],
    ids=repr,
)
def test_the_proxy_on_the_way_is_told_with_the_variable_that_names_it(proxy: Proxy, error: Exception) -> None:
    failure = before_answer(error, URL, proxy)
    assert failure.facts["way"] == "through http://p.example:3128, the proxy that ALL_PROXY names"
    assert "way" not in before_answer(error, URL).facts


def test_a_proxy_that_wants_to_know_who_asks_is_told_with_its_variable(proxy: Proxy) -> None:
    failures = [
        before_answer(httpcore.ProxyError("407 Proxy Authentication Required"), URL, proxy),
        proxy_authentication(URL, proxy),
    ]
    for failure in failures:
        assert isinstance(failure, ConnectionFailed)
        assert failure.next_step == "set ALL_PROXY to http://USER:PASSWORD@HOST:PORT"
        assert SECRET not in f"{failure} {failure.facts}"
