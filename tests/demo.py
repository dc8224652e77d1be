"""The main job for a person to read: `make demo`.

A publisher on this machine makes an image of this machine's own files, signs it with gpg and serves it over TLS;
an operator discovers, trusts, fetches, verifies, exports, removes and collects it, with the command line. All of
it stays in `.demo/`, with a store to play with.
"""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import trustme

from acistore.naming import ImageName
from tests.fileserver import Site
from tests.gpg import KeyMaker, SigningKey
from tests.rootfs import copy_own_files
from tests.web import RawServer, WebSite

TOP = Path(".demo")
HOST = "example.com"
NAME = f"{HOST}/tools"
IMAGE_SIZE = 40 << 20
# Where the template on the page leads for an operator who asks for no version.
PLACE = "images/{name}-latest-{os}-{arch}".format(name=NAME, **ImageName.parse(NAME).for_this_machine().labels)

PAGE = f"""<!DOCTYPE html>
<title>{HOST}</title>
<meta name="ac-discovery" content="{HOST} https://{HOST}/images/{{name}}-{{version}}-{{os}}-{{arch}}.{{ext}}">
<meta name="ac-discovery-pubkeys" content="{HOST} https://{HOST}/pubkeys.asc">
"""


def main() -> None:
    """The story, in order."""
    shutil.rmtree(TOP, ignore_errors=True)
    (TOP / "web").mkdir(parents=True)
    authority = trustme.CA()
    with KeyMaker() as maker, WebSite((TOP / "web").absolute(), authority) as web:
        key = maker.key(f"Release team <release@{HOST}>")
        operator = Operator(web)
        archive = publish(web, key)
        find_and_trust(operator, key)
        fetch_and_look(operator, archive)
        break_off(operator, web, authority)
        refuse(operator, web, maker, archive)
        go_back(operator, web, key)
        judge_again(operator, key)
        remove_and_collect(operator)
        serve(web, key, archive)
        operator.run("-q", "fetch", NAME, shown=False)
    say("Done.", "The image was fetched once more: .demo/store is yours to look around, until the next make demo.")
    for command in (
        "list",
        f"show {NAME}",
        f"export {NAME} /tmp/tools.tar",
        "verify",
        "gc --grace-period 0s --dry-run",
    ):
        print(f"  .venv/bin/acistore --dir .demo/store --local-config .demo/config {command}")
    print("\n(The publisher's web server is gone: what needs the network will say so.)")


class Operator:
    """Runs `acistore` as a person would, in the web that the demo has made."""

    def __init__(self, web: WebSite) -> None:
        self._environment = {
            **os.environ,
            **web.environ,
            "ACISTORE_DIR": str(TOP / "store"),
            "ACISTORE_SYSTEM_CONFIG": str(TOP / "system"),
            "ACISTORE_LOCAL_CONFIG": str(TOP / "config"),
            "ACISTORE_USER_CONFIG": str(TOP / "user"),
            "COLUMNS": "120",
        }

    def run(self, *arguments: str, code: int = 0, shown: bool = True) -> str:
        """Shows a command and what it prints, and returns its stdout. The exit code has to be this one."""
        if shown:
            print(f"\n$ acistore {shlex.join(arguments)}", flush=True)
        command = [sys.executable, "-m", "acistore", *arguments]
        done = subprocess.run(
            command, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if shown:
            print(done.stderr + done.stdout, end="", flush=True)
            if code:
                print(f"(exit code {done.returncode})")
        if done.returncode != code:
            sys.exit(f"the demo expected exit code {code}, not {done.returncode}:\n{done.stderr}")
        return done.stdout


def publish(web: WebSite, key: SigningKey) -> bytes:
    """An image of real files, signed, and the page that says where it is. Returns the plain tar."""
    say(
        "A publisher",
        "makes an image of some of this machine's files, signs it with gpg, and serves both over TLS.",
    )
    archive = make_image(ImageName.parse(f"{NAME}:1.0").for_this_machine())
    web.put(HOST, "pubkeys.asc", key.public())
    web.put(HOST, "index.html", PAGE.encode())
    size = serve(web, key, archive)
    print(f"\n  https://{HOST}/  the discovery page: two <meta> tags")
    print(f"  https://{HOST}/{PLACE}.aci  {size / 1e6:.1f} MB, and its signature behind .asc")
    print(f"  image ID sha512-{hashlib.sha512(archive).hexdigest()[:24]}…, {len(archive) / 1e6:.1f} MB unpacked")
    return archive


def serve(web: WebSite, key: SigningKey, archive: bytes) -> int:
    """Puts image and signature where the page says; returns the size of the image as it is served."""
    served = subprocess.run(["gzip", "-3", "-c"], input=archive, stdout=subprocess.PIPE, check=True).stdout
    web.put(HOST, f"{PLACE}.aci.asc", key.sign(served))
    web.put(HOST, f"{PLACE}.aci", served)
    return len(served)


def make_image(name: ImageName, size: int = IMAGE_SIZE) -> bytes:
    """What `tar` makes of a manifest and a root file system of about that many bytes."""
    manifest = {
        "acKind": "ImageManifest",
        "acVersion": "0.8.11",
        "name": name.name,
        "labels": [{"name": label, "value": value} for label, value in name.labels.items()],
        "app": {"exec": ["/usr/bin/env"], "user": "0", "group": "0"},
        "annotations": [{"name": "authors", "value": f"Release team <release@{HOST}>"}],
    }
    image = TOP / "image"
    (image / "rootfs").mkdir(parents=True)
    (image / "manifest").write_text(json.dumps(manifest))
    copy_own_files(image / "rootfs", size)
    command = ["tar", "--numeric-owner", "-C", str(image), "-cf", "-", "manifest", "rootfs"]
    archive = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    shutil.rmtree(image)
    return archive


def find_and_trust(operator: Operator, key: SigningKey) -> None:
    say("An operator", f"wants {NAME}. Where is it, and whose keys does its page name?")
    operator.run("-v", "discover", NAME)
    say("Nothing is trusted yet,", "so nothing but the signature is downloaded.")
    operator.run("fetch", NAME, code=4)
    say("Trust", "is given to a key for a name, after its fingerprint was compared with the publisher's own word.")
    operator.run("trust", "add", "--prefix", NAME, "--fingerprint", key.fingerprint)
    operator.run("trust", "list")
    operator.run("trust", "explain", NAME)


def fetch_and_look(operator: Operator, archive: bytes) -> None:
    say("Fetch:", "discover, check who has signed, download, verify, store.")
    operator.run("fetch", NAME)
    operator.run("list")
    operator.run("show", NAME)
    say("Again:", "what has not changed is not downloaded.")
    operator.run("fetch", NAME)
    say("Export", "gives back the identical tar: its SHA-512 is the image ID.")
    exported = TOP / "exported.tar"
    operator.run("export", NAME, str(exported))
    print(f"\n$ sha512sum {exported}")
    digest = hashlib.sha512(exported.read_bytes()).hexdigest()
    print(f"{digest[:64]}…")
    if digest != hashlib.sha512(archive).hexdigest():
        sys.exit("the exported tar is not the published one")
    exported.unlink()
    operator.run("verify")


def break_off(operator: Operator, web: WebSite, authority: trustme.CA) -> None:
    say("The server breaks off", "in the middle, and is down for a moment. The download goes on where it stopped.")
    site = Site()
    for path in ("index.html", f"{PLACE}.aci", f"{PLACE}.aci.asc"):
        site.put(path, (TOP / "web" / "hosts" / HOST / path).read_bytes())
    image = site.files[f"/{PLACE}.aci"]
    image.cuts = [len(image.body) // 3, 0]
    with RawServer(site, authority.issue_cert(HOST)) as server:
        web.take_over(HOST, server)
        operator.run("-v", "fetch", "--no-cache", NAME)
        web.give_back(HOST)


def refuse(operator: Operator, web: WebSite, maker: KeyMaker, archive: bytes) -> None:
    say(
        "An attacker",
        "takes over the web server: a changed image under the old signature, then one signed by a stranger.",
    )
    evil = archive[:-1024] + b"evil" + archive[-1020:]
    web.put(HOST, f"{PLACE}.aci", evil)
    operator.run("fetch", NAME, code=4)
    stranger = maker.key("Somebody else <somebody@example.org>")
    web.put(HOST, f"{PLACE}.aci.asc", stranger.sign(evil))
    operator.run("fetch", NAME, code=4)


def go_back(operator: Operator, web: WebSite, key: SigningKey) -> None:
    say("Or serves", "an old image, with all its holes, that the publisher did sign once.")
    serve(web, key, make_image(ImageName.parse(f"{NAME}:0.9").for_this_machine(), size=1 << 20))
    operator.run("fetch", NAME, code=4)


def judge_again(operator: Operator, key: SigningKey) -> None:
    say("A key is put out of use:", "which images has it let in, that would not be admitted today?")
    operator.run("trust", "mask", "--prefix", NAME, "--layer", "user", key.fingerprint)
    operator.run("verify", "--trust", code=4)
    operator.run("trust", "unmask", "--prefix", NAME, key.fingerprint)


def remove_and_collect(operator: Operator) -> None:
    say("Remove and collect:", "the image goes at once, its bytes with the next garbage collection.")
    operator.run("rm", NAME)
    operator.run("gc")
    operator.run("verify")


def say(what: str, text: str) -> None:
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}{what}{plain} {text}", flush=True)


if __name__ == "__main__":
    main()
