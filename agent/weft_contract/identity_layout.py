"""The identity directory: what the files are called that a certificate issuer writes and an agent reads.

Theory: one file holds a workload's private key *and* its chain, so that one rename replaces both and no reader ever meets
a key with another key's certificate. A namespace has no dot, so the first dot of the name parts it from the service
account.

    <directory>/                                   0700, on a tmpfs
        <namespace>.<service account>.pem          0600: private key, leaf, intermediates, in this order
        roots/<trust domain>.pem                   0644: the roots of that domain, two or more during a rotation;
                                                   missing where roots come with the configuration

A name that begins with a dot is a file being written; readers pass over it.
"""

from typing import Final

from weft_contract.identity import SpiffeId, check_trust_domain

KEY_PAIR_MODE: Final = 0o600
ROOTS_MODE: Final = 0o644
DIRECTORY_MODE: Final = 0o700
ROOTS_DIRECTORY: Final = "roots"
SUFFIX: Final = ".pem"
MAX_FILE_BYTES: Final = 256 * 1024
"""A key and five certificates of RSA 4096 take 15 KiB, a bundle of a hundred roots 200 KiB."""


def key_pair_file_name(identity: SpiffeId) -> str:
    """Return the name of an identity's file, relative to the directory."""
    return f"{identity.namespace}.{identity.service_account}{SUFFIX}"


def roots_file_name(trust_domain: str) -> str:
    """Return the name of a trust domain's bundle, relative to the directory."""
    return f"{ROOTS_DIRECTORY}/{trust_domain}{SUFFIX}"


def trust_domain_of_file_name(name: str) -> str:
    """Return the trust domain whose bundle has this name (without its folder).

    Raises:
        IdentityGrammarError: the name is not `<trust domain>.pem`.
    """
    return check_trust_domain(name.removesuffix(SUFFIX))
