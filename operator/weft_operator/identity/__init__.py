"""Who asks, and who may have which certificate: agents by their tokens, identities by the pods that are really there.

Belongs here: the review of agents' tokens (`tokens`), an own index of pods (`pods`), and the endpoint that signs
(`certificates`).
Does not belong here: what a certificate says (`ca.Authority` writes every word of it), and the streams (`distribution`).
"""

from weft_operator.identity.certificates import CertificateEndpoint
from weft_operator.identity.pods import PodIndex
from weft_operator.identity.tokens import TokenGatekeeper

__all__ = ["CertificateEndpoint", "PodIndex", "TokenGatekeeper"]
