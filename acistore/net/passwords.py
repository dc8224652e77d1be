"""URLs with a user name or password in them: refused before they are asked for, shown or recorded.

What is sent to whom is not decided here: `credentials`.
"""

from urllib.parse import urlsplit

from acistore.errors import UsageError


def has_user(url: str) -> bool:
    """Whether a URL has a user name or password in it, or is none and may have."""
    try:
        return "@" in urlsplit(url).netloc
    except ValueError:
        return "@" in url


def require_no_password(url: str) -> None:
    """Raises UsageError for a URL with a user in it: what is asked for is shown and recorded."""
    if has_user(url):
        host = url.rpartition("@")[2].partition("/")[0].partition("?")[0].partition("#")[0]
        raise UsageError(
            f"a URL of {host} has a user name or password in it, which everybody could read who sees the call",
            next_step="put them into ~/.netrc or a [[hosts]] table of acistore.toml, and ask for the URL without",
        )
