"""The certificates, keys and kubeconfigs of a cluster, made in a twentieth of a second.

Theory. One authority signs everything: API server, its clients, kubelets (as client and as server, with the node's
addresses, because the API server checks them when it fetches logs), and the front proxy, without which the controller
manager fills its log. Service account tokens are signed by an RSA key of their own.
"""

import datetime
import ipaddress
import json
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from weft_testing.cluster.processes import write_atomically

_LIFETIME: Final = datetime.timedelta(days=30)
_SKEW: Final = datetime.timedelta(hours=1)
_ISSUER: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weft-test-cluster")])
_SERVER_NAMES: Final = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
# File name, common name, organisations: the users that Kubernetes' own roles are bound to.
_CLIENTS: Final = (
    ("admin", "admin", ("system:masters",)),
    ("kube-controller-manager", "system:kube-controller-manager", ()),
    ("kube-scheduler", "system:kube-scheduler", ()),
    ("kube-proxy", "system:kube-proxy", ()),
    ("apiserver-kubelet", "kube-apiserver-kubelet-client", ("system:masters",)),
    ("front-proxy", "front-proxy-client", ()),
)


class Authority:
    """The cluster's certificate authority; it writes what it issues into one folder."""

    def __init__(self, directory: Path, key: ec.EllipticCurvePrivateKey, certificate_pem: bytes) -> None:
        self.directory = directory
        self.certificate_pem = certificate_pem
        self._key = key

    @classmethod
    def make(cls, directory: Path) -> Self:
        """Make a new authority and write it down as `ca.crt` and `ca.key`."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_ISSUER, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        made = cls(directory, key, certificate.public_bytes(serialization.Encoding.PEM))
        made._write("ca", made.certificate_pem, key)
        return made

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read back what `make` wrote."""
        key = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey), "make() writes no other kind"
        return cls(directory, key, (directory / "ca.crt").read_bytes())

    def issue(
        self, file: str, common_name: str, organisations: Sequence[str] = (), *, names: Sequence[str] = ()
    ) -> None:
        """Write `<file>.crt` and `<file>.key`, for a client and, if it has names or addresses, for a server."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organisations),
                x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            ]
        )
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if names else [])]
        builder = (
            _builder(subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_name(name) for name in names]), critical=False
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        self._write(file, certificate.public_bytes(serialization.Encoding.PEM), key)

    def write_kubeconfig(self, file: str, user: str, server: str) -> Path:
        """Write `<file>.kubeconfig` with everything inside, for a user that `issue` was called for."""
        encoded = {
            ending: b64encode((self.directory / f"{user}.{ending}").read_bytes()).decode() for ending in ("crt", "key")
        }
        cluster = {"server": server, "certificate-authority-data": b64encode(self.certificate_pem).decode()}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "weft",
            "clusters": [{"name": "weft", "cluster": cluster}],
            "users": [
                {
                    "name": user,
                    "user": {"client-certificate-data": encoded["crt"], "client-key-data": encoded["key"]},
                }
            ],
            "contexts": [{"name": "weft", "context": {"cluster": "weft", "user": user}}],
        }
        path = self.directory / f"{file}.kubeconfig"
        write_atomically(path, json.dumps(content, indent=1).encode(), 0o600)
        return path

    def _write(self, file: str, certificate_pem: bytes, key: ec.EllipticCurvePrivateKey) -> None:
        write_atomically(self.directory / f"{file}.crt", certificate_pem)
        write_atomically(self.directory / f"{file}.key", _private_pem(key), 0o600)


def make_control_plane_pki(directory: Path, addresses: Sequence[str], server: str) -> Authority:
    """Write everything the control plane needs.

    Args:
        directory: where to.
        addresses: under which the API server is reached.
        server: the URL under which its own clients reach it.
    """
    authority = Authority.make(directory)
    authority.issue("apiserver", "kube-apiserver", names=[*_SERVER_NAMES, *addresses])
    for file, common_name, organisations in _CLIENTS:
        authority.issue(file, common_name, organisations)
    for user in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
        authority.write_kubeconfig(user, user, server)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    write_atomically(directory / "service-accounts.key", _private_pem(key), 0o600)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_atomically(directory / "service-accounts.pub", public)
    return authority


def issue_node(authority: Authority, node: str, addresses: Sequence[str], server: str) -> None:
    """Write a kubelet's certificate and kubeconfig, as `node-<name>`."""
    authority.issue(f"node-{node}", f"system:node:{node}", ("system:nodes",), names=[node, *addresses])
    authority.write_kubeconfig(f"node-{node}", f"node-{node}", server)


def _builder(subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(_ISSUER)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _LIFETIME)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
