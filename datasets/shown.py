"""Places as messages and records show them: without passwords, signatures and tokens, which are secrets."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

_SECRETS = ("x-amz-", "x-goog-", "x-oss-", "x-ms-")
"""Beginnings of query fields that sign an address."""
_SECRET = frozenset(
    ("signature", "sig", "se", "sp", "sv", "sr", "st", "spr", "skoid", "sktid", "skt", "ske", "sks", "skv", "expires",
     "key-pair-id", "policy", "awsaccesskeyid", "googleaccessid", "token", "access_token", "auth", "apikey", "api_key", "key",
     "password", "sas")
)  # fmt: skip
"""Names of query fields that sign an address or open it."""


def split_query(place: str) -> tuple[str, str]:
    """Split a web address into what names of files are appended to, and its query, which goes behind them; "" for none.

    The query stays as it was signed; only spaces and the like in the path are then quoted.
    """
    path, mark, query = place.partition("?")
    if not mark or not path.startswith(("http://", "https://")):
        return place.rstrip("/"), ""
    scheme, _, rest = path.rstrip("/").partition("://")
    return f"{scheme}://{quote(rest, safe='/%:@!$&()*+,;=~[]')}", f"?{query}"


def shown_place(place: str) -> str:
    """Return a place as messages and records show it: without query and password, which are secrets."""
    root, query = split_query(place)
    scheme, mark, rest = root.partition("://")
    host, slash, path = rest.partition("/")
    return (f"{scheme}://{host.rpartition('@')[2]}{slash}{path}" if mark and "@" in host else root) + ("?..." if query else "")


def shown_address(url: str) -> str:
    """Return the address of one file without password and without the query fields that sign it; the other fields name it."""
    parts = urlsplit(url)
    fields = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in fields if name.lower() not in _SECRET and not name.lower().startswith(_SECRETS)]
    query = parts.query if len(kept) == len(fields) else urlencode(kept)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))
