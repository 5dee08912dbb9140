"""The mesh's own authority, with its keys in a Secret that whichever replica is first makes, and all read."""

import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from weft_operator.apiserver import ApiServer, Body, ExistsError
from weft_operator.ca import Authority, CaError, ServerCertificate, SigningKey, create_intermediate, create_root
from weft_operator.ca.authority import PublicKey
from weft_operator.server.settings import Settings

_log = structlog.get_logger("weft_operator.server")


class OwnAuthority:
    """An authority whose root and intermediate we hold."""

    def __init__(self, root: SigningKey, intermediate: SigningKey, trust_domain: str) -> None:
        self._root, self._intermediate, self._trust_domain = root, intermediate, trust_domain
        self._authority = Authority(intermediate, trust_domain)

    @property
    def authority(self) -> Authority | None:
        """What signs for workloads."""
        return self._authority

    @property
    def bundles(self) -> Mapping[str, tuple[str, ...]]:
        """PEM roots by trust domain."""
        return {self._trust_domain: tuple(self.roots)}

    @property
    def roots(self) -> Sequence[str]:
        """PEM roots that verify what it issues."""
        return (self._root.certificate_pem.decode(),)

    @property
    def ends(self) -> Iterable[tuple[str, float]]:
        """Name and end of its certificates."""
        yield "root", self._root.not_after_unix_s
        yield "intermediate", self._intermediate.not_after_unix_s

    def issue_server(self, key: PublicKey, names: Sequence[str], now_unix_s: float) -> ServerCertificate:
        """Issue a certificate for our servers."""
        return self._authority.issue_server(key, names, now_unix_s=now_unix_s)


async def load_own_authority(api: ApiServer, settings: Settings, trust_domain: str) -> OwnAuthority:
    """Read the authority from its Secret, or make it.

    Raises:
        CaError: the Secret holds something else.
    """
    collection = f"/api/v1/namespaces/{settings.namespace}/secrets"
    path = f"{collection}/{settings.ca_secret}"
    item = await api.get(path)
    if item is None:
        root = create_root(trust_domain, now_unix_s=time.time())
        intermediate = create_intermediate(root, trust_domain, now_unix_s=time.time())
        try:
            item = await api.create(collection, _secret(settings.ca_secret, root, intermediate))
            _log.info("authority made", secret=settings.ca_secret, trust_domain=trust_domain)
        except ExistsError:
            item = await api.get(path) or {}
    data = item.get("data") or {}
    return OwnAuthority(_key(data, "root.pem", path), _key(data, "intermediate.pem", path), trust_domain)


def _secret(name: str, root: SigningKey, intermediate: SigningKey) -> Body:
    pairs = {"root.pem": root, "intermediate.pem": intermediate}
    data = {key: b64encode(_pem(pair)).decode() for key, pair in pairs.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque", "data": data}


def _pem(pair: SigningKey) -> bytes:
    key = pair.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key + pair.certificate_pem


def _key(data: Mapping[str, str], name: str, path: str) -> SigningKey:
    try:
        text = b64decode(data[name])
        key = serialization.load_pem_private_key(text, password=None)
        certificate = x509.load_pem_x509_certificate(text)
    except (KeyError, ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise CaError(f"{path} does not hold {name} of an authority ({exc}): restore it, or delete the Secret") from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        raise CaError(f"{path}: the key of {name} is not its certificate's: restore it, or delete the Secret")
    return SigningKey(certificate, key)
