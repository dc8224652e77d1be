"""`trust explain`: which keys would be accepted for a name, and what would be decided over a signature."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

import acistore
from acistore.cli.completion import complete_images
from acistore.cli.output import escape, facts
from acistore.cli.parameters import Command, option
from acistore.cli.session import Session
from acistore.config import policy_for, shown_values
from acistore.errors import FileUnusable, UsageError
from acistore.files import open_regular, read_bounded
from acistore.fingerprints import shown_fingerprint
from acistore.naming import ImageName

if TYPE_CHECKING:
    from acistore.config import Policy
    from acistore.trust.explain import ExplainedKey, ExplainedSignature

_SUFFIXES = (".asc", ".sig")


@click.command(cls=Command, short_help="Say whose signatures count for a name, and why.")
@click.argument("name", metavar="NAME", shell_complete=complete_images)
@option("--signature", metavar="FILE", type=click.Path(), help="Say what would be decided over this signature.")
@option(
    "--image",
    metavar="FILE",
    type=click.Path(),
    help="What the signature is for, as it is served. By default the file beside it, without .asc or .sig.",
)
@click.pass_obj
def explain(session: Session, *, name: str, signature: str | None, image: str | None) -> None:
    """Say which keys would be accepted for an image name, and through which rule; of the others, why not.

    With --signature also what would be decided over an image with that signature. Where the image is not there,
    only who claims to have signed it is judged. Nothing is fetched, and nothing stored: whether name, labels and
    age of an image are right is not asked here. The exit code is 0 whatever would be decided.

    \b
      acistore trust explain example.com/app
      acistore trust explain example.com/app --signature app.aci.asc
      acistore --json trust explain example.com/app --signature app.aci.sig | jq .verdict
    """
    from acistore.trust.explain import explain_keys, explain_signature  # noqa: PLC0415 - help needs no gpg

    if image is not None and signature is None:
        raise UsageError("--image is what a signature is for", next_step="add --signature FILE")
    config = session.config()
    trust = acistore.TrustStore.open(config)
    wanted = ImageName.parse(name)
    keys = explain_keys(wanted.name, trust)
    judged = None
    if signature is not None:
        with ExitStack() as stack:
            material = read_bounded(
                Path(signature),
                f"the signature {signature}",
                limit=config.limits.signature_size,
                option="limits.signature_size",
            )
            archive = _image(stack, signature, image)
            judged = explain_signature(wanted.name, material, archive, trust, called=str(wanted))
    policy = policy_for(wanted.name, config.policies)
    if session.output.json:
        session.output.document(_document(wanted, keys, policy, judged))
    else:
        session.output.lines(_lines(wanted, keys, policy, judged))


def _image(stack: ExitStack, signature: str, image: str | None) -> BinaryIO | None:
    """The image that was given, or else the one beside the signature, if there is one."""
    path = Path(image) if image is not None else Path(signature).with_suffix("")
    if image is None and not (signature.endswith(_SUFFIXES) and path.is_file()):
        return None
    try:
        return stack.enter_context(path.open("rb") if image is not None else open_regular(path))
    except OSError as error:
        raise FileUnusable(f"the image {path} can't be read: {error.strerror}") from error


def _document(
    name: ImageName, keys: Sequence["ExplainedKey"], policy: "Policy", judged: "ExplainedSignature | None"
) -> dict[str, object]:
    document: dict[str, object] = {
        "name": name.name,
        "keys": [
            {
                "fingerprint": each.key.fingerprint,
                "scheme": each.key.block.scheme,
                "user_ids": each.key.user_ids,
                "prefix": each.prefix,
                "layer": each.layer,
                "accepted": each.accepted,
                "why": each.why,
            }
            for each in keys
        ],
        "policy": {**shown_values(policy), "from": policy.origin},
    }
    if judged is not None:
        signers = judged.verdict.signers if judged.verdict else ()
        document["verdict"] = {
            "admitted": judged.admitted,
            "kind": judged.refusal and type(judged.refusal).__name__,
            "why": _why(judged),
            "fingerprint": signers[0].fingerprint if signers else None,
            "fingerprints": [each.fingerprint for each in signers],
        }
    return document


def _why(judged: "ExplainedSignature") -> str:
    if judged.refusal is not None:
        return judged.refusal.message
    if judged.verdict is None:
        return "it claims to be by a key that is accepted; without the image that can't be proven"
    signers = (f"{shown_fingerprint(each.fingerprint)} ({each.rule})" for each in judged.verdict.signers)
    return f"signed by {' and by '.join(signers)}"


def _lines(
    name: ImageName, keys: Sequence["ExplainedKey"], policy: "Policy", judged: "ExplainedSignature | None"
) -> Iterator[str]:
    yield escape(name.name)
    pairs = [] if any(each.accepted for each in keys) else [("trusted", _nobody(policy))]
    for each in keys:
        pairs += [
            ("accepted" if each.accepted else "not accepted", shown_fingerprint(each.key.fingerprint)),
            *(("", user_id) for user_id in each.key.user_ids),
            ("because", f"{each.why}; the key lies in the {each.layer} layer"),
        ]
    accepted = len({each.key.fingerprint for each in keys if each.accepted})
    yield from facts([*pairs, *_policy(policy, accepted=accepted)])
    if judged is not None:
        decision = {True: "admitted", False: "refused", None: "not decided"}[judged.admitted]
        yield "signature"
        yield from facts([(decision, _why(judged)), *(judged.refusal.facts.items() if judged.refusal else ())])


def _nobody(policy: "Policy") -> str:
    """What it means that no key is accepted."""
    refused = "an image that has a signature" if policy.allow_unsigned else "an image of this name"
    return f"no key: {refused} is refused"


def _policy(policy: "Policy", *, accepted: int) -> Iterator[tuple[str, str]]:
    """What is demanded besides a key, where that isn't the default."""
    if policy.threshold > 1:
        lacking = f", and only {accepted} of them can: an image is refused" if accepted < policy.threshold else ""
        yield "demanded", f"signatures by {policy.threshold} distinct keys{lacking}"
    if policy.allow_unsigned:
        yield "allowed", "an image without any signature"
    if policy.allow_downgrade:
        yield "allowed", "as latest, an image that is older than the last"
    if policy.discover_keys:
        yield "allowed", "to look for keys where none is trusted, and to show them for review"
    if policy.origin != "default":
        yield "policy", f"for {policy.prefix or 'all names'}, set by {policy.origin}"
