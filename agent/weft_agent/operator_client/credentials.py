"""When a connection to the operator has to be made anew: its token is about to end, or its roots were replaced.

Theory: the operator cuts a stream whose token has ended. Going first, with the next token, turns a cut into a short pause that
nobody notices; the moment is drawn by lot so that nodes that started together do not come together. A roots file that changed
means that who we talk to may not be trusted any more; the new connection finds out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import trio

from weft_agent.control.watch import Watch
from weft_agent.operator_client.bearer import Token, read_token
from weft_agent.operator_client.errors import CredentialsError
from weft_agent.operator_client.transport import read_roots

EARLY_S: Final = 60.0
"""Kubelets replace a token of ten minutes two minutes before its end."""
LOOK_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a connection was made with."""

    token: Token
    roots_pem: bytes


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """Where they come from."""

    token: Path
    roots: Path

    def read(self) -> Credentials:
        """Read both; blocking, but small.

        Raises:
            CredentialsError: one cannot be used.
        """
        return Credentials(read_token(self.token), read_roots(self.roots))


async def until_token_ends(files: CredentialFiles, token: Token, clock: Callable[[], float], rng: Random) -> str:
    """Return, with the reason, when there is a newer token and the present one is about to end.

    Args:
        files: where the next one comes from.
        token: the one in use.
        clock: wall clock, unix seconds.
        rng: chance.

    Raises:
        CredentialsError: the token ended and nobody replaced it.
    """
    begin_unix_s = token.expires_unix_s - min(EARLY_S, (token.expires_unix_s - clock()) / 4) * rng.uniform(1.0, 2.0)
    while True:
        now_unix_s = clock()
        if now_unix_s >= begin_unix_s and _expiry(files.token) > token.expires_unix_s:
            return "the token is about to end, there is a new one"
        if now_unix_s >= token.expires_unix_s:
            raise CredentialsError(f"the token {files.token} has ended and was not replaced; is its projection there?")
        await trio.sleep(LOOK_S if now_unix_s >= begin_unix_s else min(60.0, max(LOOK_S, begin_unix_s - now_unix_s)))


async def until_roots_change(files: CredentialFiles, roots_pem: bytes) -> str:
    """Return, with the reason, when the roots file holds something else, and can be used."""
    watch = Watch([files.roots.parent], LOOK_S)
    try:
        while True:
            try:
                if read_roots(files.roots) != roots_pem:
                    return "the roots were replaced"
            except CredentialsError:
                pass  # being replaced; the next connection says it if it stays so
            await watch.changed()
    finally:
        watch.close()


def _expiry(path: Path) -> float:
    try:
        return read_token(path).expires_unix_s
    except CredentialsError:
        return 0.0
