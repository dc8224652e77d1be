"""Every error that acistore raises on purpose: one class per thing that a caller would handle differently.

A message says in one line what failed on what; `facts` are labelled details; `next_step` is what to do about
it, as a command where there is one. The class name is the `kind` that scripts see; the exit codes are told in
the README.
"""

from collections.abc import Mapping


def flag_of(option: str) -> str:
    """The long option before a command of one that is named as in the configuration file: `limits.page_size`."""
    return "--" + option.replace(".", "-").replace("_", "-")


def raising(option: str) -> str:
    """The next step where a limit may be in the way of what is right."""
    return f"if it is meant to be so: acistore {flag_of(option)} …"


class AcistoreError(Exception):
    """The root of all errors here. `exit_code` is what the command line ends with."""

    exit_code = 1

    def __init__(
        self, message: str, *, facts: Mapping[str, str] | None = None, next_step: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.facts: dict[str, str] = dict(facts or {})
        self.next_step = next_step


# 1: failed for a reason of its own


class ArchiveRefused(AcistoreError):
    """What was to be stored is not a valid App Container Image: its compression, tar, layout or size."""


class InvalidManifest(ArchiveRefused):
    """An image manifest breaks the schema; the message begins with the field."""


class ImageInUse(AcistoreError):
    """The image is pinned, or another image depends on it."""


class StoreTooNew(AcistoreError):
    """The store was written by a newer acistore, whose schema this one does not know."""


class StoreUnavailable(AcistoreError):
    """The store can't be opened or written: permissions, a full disk, a lock that is never released."""


class DiskFull(StoreUnavailable):
    """There is no room for what is to be written; the facts say how much was needed, as far as that is known."""


class ProgramMissing(AcistoreError):
    """A program that is needed (gpg) is not installed or doesn't work; the next step installs it."""


class DependencyCycle(AcistoreError):
    """An image depends on itself through its dependencies, or they nest deeper than the limit."""


class FileUnusable(AcistoreError):
    """A file named by the caller can't be read or written."""


class Cancelled(AcistoreError):
    """The caller has cancelled the job (`Fetcher.cancel`); what was on its way is kept for the next one."""


# 2: the call is wrong


class UsageError(AcistoreError):
    """A wrong option, argument or combination of them."""

    exit_code = 2


class InvalidName(UsageError):
    """Not an image name, label, identifier or image ID."""


class AmbiguousImage(UsageError):
    """An ID prefix that fits several images; the facts list them."""


class ConfigError(UsageError):
    """A configuration file or environment variable that can't be understood."""


class NoTerminal(UsageError):
    """A question has to be answered and there is no terminal to ask at; the next step names the flag."""


# 3: not found


class NotFound(AcistoreError):
    """What was asked for does not exist, here or at the server."""

    exit_code = 3


class EndpointNotFound(NotFound):
    """Discovery found no (usable) endpoint, or no key, for a name."""


class StoreNotFound(NotFound):
    """There is no store in the directory, where one was to be looked at."""


class ImageNotFound(NotFound):
    """The store holds no such image."""


class PathNotFound(NotFound):
    """The image holds no such path, or no image holds such a path or body."""


class KeyNotFound(NotFound):
    """The trust store holds no such key."""


class ResourceNotFound(NotFound):
    """Nothing is at a URL: its server answered 404 or 410."""


class RequestRefused(ResourceNotFound):
    """A server answered another 4xx, which may depend on who asks: it does not say that nothing is there."""


# 4: not trusted


class NotTrusted(AcistoreError):
    """The image is not admitted: its signature, its signer or the policy says no."""

    exit_code = 4


class NoTrustedKey(NotTrusted):
    """No key that counts is trusted for the name."""


class UntrustedSigner(NotTrusted):
    """Signed, but by a key that is not trusted for the name."""


class SignatureMissing(NotTrusted):
    """The image has no signature."""


class MalformedSignature(NotTrusted):
    """What should be a detached signature is something else."""


class BadSignature(NotTrusted):
    """The signature does not fit the image: one of the two was altered."""


class ExpiredSignature(NotTrusted):
    """The signature itself has expired."""


class ExpiredKey(NotTrusted):
    """The signing key has expired."""


class RevokedKey(NotTrusted):
    """The signing key was revoked by its owner."""


class WeakSignature(NotTrusted):
    """The signature rests on a broken digest (MD5, SHA-1) or a key too short."""


class TooFewSigners(NotTrusted):
    """Signed by fewer distinct keys than the policy demands."""


class DowngradeRefused(NotTrusted):
    """Older than the image of that name that was last admitted as latest."""


class NoLongerAdmitted(NotTrusted):
    """Images in the store that would not be admitted by the keys and policies of today."""


class ImageMismatch(NotTrusted):
    """What was fetched is not what was asked for: another name, label, version or image ID."""


class KeyRefused(NotTrusted):
    """A key that can't be added or renewed: not a public key, secret, unexpected, expired or revoked."""


class KeysNeedAttention(NotTrusted):
    """Some of the trusted keys have expired, were revoked, will expire soon, or are of no use otherwise."""


class ConsentRefused(NotTrusted):
    """The person at the terminal said no."""


# 5: network


class NetworkError(AcistoreError):
    """A server could not be reached or did not answer usefully.

    `transient`: it may go better in a moment. `retry_after`: in so many seconds, as the server itself says.
    """

    exit_code = 5
    transient = False
    retry_after: float | None = None


class ConnectionFailed(NetworkError):
    """No connection: the name does not resolve, nobody listens, or the time is up.

    `unreachable`: nobody was there at all, whatever would have been asked for.
    """

    unreachable = False


class TLSFailed(NetworkError):
    """The server's certificate or its TLS is not acceptable."""


class ServerFailed(NetworkError):
    """A server answered 5xx, or with something that HTTP does not allow."""


class TransferFailed(NetworkError):
    """A download broke off, was too slow, or did not have the size that was announced."""

    transient = True


class LimitExceeded(NetworkError):
    """A response is larger, slower or more redirected than the limits allow.

    `option` is the one that sets the limit, named as in the configuration file; None where nobody can.
    """

    def __init__(self, message: str, *, option: str | None = None) -> None:
        super().__init__(message, next_step=None if option is None else raising(option))


class InsecureTransport(NetworkError):
    """Plain HTTP, directly or by redirect, without the option that allows it."""


# 6: the store is damaged


class StoreDamaged(AcistoreError):
    """Bytes in the store are not what was stored, or the database can't be read."""

    exit_code = 6
