"""Credentials in use: kept fresh, and turned into what each request is sent with."""

import ssl
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from weft_operator.access.credentials import REREAD_S, Access, AccessError, Credentials

_log = structlog.get_logger("weft_operator.apiserver")


class Identity:
    """The credentials as they were read last.

    Args:
        access: where they lie.
        clock: monotonic seconds.

    Raises:
        AccessError: they cannot be read or used at the start. Later such a mistake is logged and the old ones stay.
    """

    def __init__(self, access: Access, clock: Callable[[], float] = time.monotonic) -> None:
        self._access, self._clock = access, clock
        self._credentials = access.read()
        self._tls = self._credentials.tls()
        self._read_at = clock()

    @property
    def now(self) -> Credentials:
        """Credentials not older than `REREAD_S`."""
        if self._clock() - self._read_at >= REREAD_S:
            self.refresh()
        return self._credentials

    @property
    def tls(self) -> ssl.SSLContext:
        """What the present credentials connect with."""
        return self._tls

    def refresh(self) -> bool:
        """Read again; say whether anything changed."""
        self._read_at = self._clock()
        try:
            found = self._access.read()
            if found == self._credentials:
                return False
            if replace(found, token="") != replace(self._credentials, token=""):
                self._tls = found.tls()
        except AccessError as exc:
            _log.warning("credentials for the API server could not be read again; the old ones are used", why=str(exc))
            return False
        self._credentials = found
        return True
