"""Requests that fail and are tried again: which faults may pass, how long to wait, and what a final failure is called.

How a request is made is left to `objects` and `web`. Time limits come from the environment, so that every command and every
worker process has the same ones.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ...manifests.config import ConfigError
from ..sample import Drop

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds to wait before each further try; each is drawn from half to one and a half times that."""
_DENIED = frozenset(
    ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError", "SSOTokenLoadError",
     "UnauthorizedSSOTokenError", "DefaultCredentialsError", "RefreshError", "ClientAuthenticationError")
)  # fmt: skip
"""Names of the errors with which botocore, google-auth and azure-core say that credentials are missing or not accepted."""
_DENIED_WORDS = ("expiredtoken", "token has expired", "invalidaccesskeyid", "signaturedoesnotmatch", "invalidtoken")


class StoreError(ValueError):
    """A store that did not give or take what was asked; the message names the place, what came and what to do."""

    reason = "io_error"
    """Code of `reasons.REASONS` for a photograph that ends so."""

    def drop(self) -> Drop:
        """Return the refusal of the photograph whose read ended so."""
        return Drop(self.reason, str(self))


class StoreUnavailable(StoreError):
    """No answer within the tries and the time that one object is given: timeouts, refused connections, 5xx."""

    reason = "store_unavailable"


class StoreDenied(StoreError):
    """The credentials are missing, expired, or not allowed to do this."""

    reason = "store_denied"


class ObjectMissing(StoreError):
    """There is no such object."""


class ObjectChanged(StoreError):
    """The object is not the one that was listed any more."""

    reason = "changed_while_reading"


class PassingFault(Exception):
    """A fault that may pass, found by our own reading: a cut body, a 503."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        """Word the fault; `wait` is the number of seconds that the server asks for."""
        super().__init__(text)
        self.wait = wait


@dataclass(frozen=True)
class StoreSettings:
    """What one object may cost."""

    timeout: float = 20.0
    """Seconds for one request without an answer. SPHEREHEAD_STORE_TIMEOUT."""
    patience: float = 60.0
    """Seconds for one object, all tries together. SPHEREHEAD_STORE_PATIENCE."""
    user_agent: str = "spherehead-toolkit (+https://pypi.org/project/spherehead-toolkit/)"
    """How web servers are told who asks. SPHEREHEAD_USER_AGENT."""
    robots: bool = True
    """Whether robots.txt of web servers is respected; SPHEREHEAD_ROBOTS=ignore for servers of one's own."""

    @classmethod
    def from_environment(cls) -> StoreSettings:
        """Return the settings that the environment gives.

        Raises:
            ConfigError: a value is no positive number, or SPHEREHEAD_ROBOTS is neither respect nor ignore.
        """
        robots = os.environ.get("SPHEREHEAD_ROBOTS", "respect")
        if robots not in ("respect", "ignore"):
            raise ConfigError(f"expected SPHEREHEAD_ROBOTS=respect or ignore, got {robots!r}")
        return cls(
            _seconds("SPHEREHEAD_STORE_TIMEOUT", cls.timeout),
            _seconds("SPHEREHEAD_STORE_PATIENCE", cls.patience),
            os.environ.get("SPHEREHEAD_USER_AGENT") or cls.user_agent,
            robots == "respect",
        )


def _seconds(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = 0.0
    if not 0 < value < 86400:
        raise ConfigError(f"expected {name} to be a number of seconds above 0, got {text!r}")
    return value


def tried(place: str, settings: StoreSettings, work: Callable[[], _T], done: Callable[[], float] = time.monotonic) -> _T:
    """Call `work`, and again after pauses where it fails for reasons that may pass.

    Args:
        place: what is asked for, for messages; without secrets.
        settings: how long to try.
        work: one try.
        done: the clock, seconds.

    Raises:
        StoreError: what it found, or that the time or the tries are over.
        ImportError: a package is missing.
    """
    started = done()
    for number, pause in enumerate((*PAUSES, None), 1):
        try:
            return work()
        except (StoreError, ImportError, ConfigError, Drop):
            raise
        except Exception as error:  # every file system has its own errors
            final = _final(place, error)
            if final is not None:
                raise final from error
            told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            wait = max((pause or 0.0) * random.uniform(0.5, 1.5), getattr(error, "wait", 0.0))
            spent = done() - started
            if pause is None or spent + wait > settings.patience:
                tries = f"{number} tries in {spent:.0f} s" if number > 1 else f"one try of {spent:.0f} s"
                raise StoreUnavailable(f"{place}: no good answer in {tries} (last: {told})") from error
            _log.info("%s failed (%s), again in %.2f s", place, told, wait)
            time.sleep(wait)
    raise AssertionError("unreachable")


def _final(place: str, error: Exception) -> StoreError | None:
    """Return what a fault that will not pass is called; None for one that may."""
    if isinstance(error, FileNotFoundError):
        return ObjectMissing(f"{place} is not there")
    names = {cls.__name__ for cls in type(error).__mro__}
    words = str(error).lower()
    if isinstance(error, PermissionError) or names & _DENIED or any(word in words for word in _DENIED_WORDS):
        text = f"{place}: the store refuses ({error or type(error).__name__}); give credentials that are valid and allow it"
        return StoreDenied(text)
    if "FileExpired" in names:
        return ObjectChanged(f"{place} changed while it was read")
    return None
