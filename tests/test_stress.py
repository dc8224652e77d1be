"""Many processes on one store, for a short while; and two that want the same image at once."""

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from acistore.naming import ImageName
from acistore.store import Store
from tests.cli.running import COMMAND, environment
from tests.fetch.conftest import HOST, Publisher
from tests.gpg import SigningKey
from tests.images import image
from tests.stress.processes import Scene, publish, report, run, trust
from tests.web import WebSite


@pytest.fixture
def scene(web: WebSite, release: SigningKey, tmp_path: Path) -> Scene:
    scene = publish(web, release, tmp_path)
    trust(scene, release)
    return scene


@pytest.mark.parametrize(("seconds", "kill"), [(7, False), (3, True)], ids=["left alone", "killed at random"])
def test_processes_at_everything_lose_nothing_and_see_no_error(scene: Scene, seconds: float, kill: bool) -> None:
    outcome = run(scene, processes=8, seconds=seconds, kill=kill)
    assert not outcome.failures, report(outcome)
    assert outcome.seconds


def fetching(scene: Scene, name: str) -> "subprocess.Popen[str]":
    """The command, as it fetches."""
    return subprocess.Popen(
        [*COMMAND, "fetch", name],
        env=environment(**scene.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_of_two_fetches_of_one_image_one_waits_and_takes_what_the_other_has_stored(
    scene: Scene, web: WebSite, release: SigningKey
) -> None:
    """Both wait for us, so that neither can be done before the other one has begun."""
    wanted = f"{HOST}/app:2.0"
    labels = ImageName.parse(wanted).for_this_machine().labels
    url = Publisher(web, release).publish(image(f"{HOST}/app", labels=labels), name=f"{HOST}/app", version="2.0")
    with ExitStack() as stack:
        with Store.open(scene.store) as store, store.spool.file(url, waiting=pytest.fail):
            processes = [stack.enter_context(fetching(scene, wanted)) for _ in range(2)]
            for process in processes:
                assert process.stderr is not None
                assert any(f"waiting for another fetch of {url}" in line for line in process.stderr)
        said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert said[0][0] == said[1][0]
    assert sorted("is in the store" in err for _out, err in said) == [False, True]
    assert web.log().count(f"GET {url} 200") == 1
