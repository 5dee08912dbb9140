"""What a connection tells about its caller, as the values that clauses compare."""

from typing import Final

from weft_core.facts import ConnectionFacts
from weft_core.policy.clauses import Attribute, Clause, Mismatch, Values
from weft_core.policy.networks import pack_address

_PLAINTEXT: Final = Values((), (), "plaintext without identity")


class Caller:
    """The attributes of one connection.

    Args:
        facts: the connection.
        trust_domain: the node's own; namespaces and service accounts of another one are possible, never certain.
    """

    __slots__ = ("_foreign", "_identity", "client", "facts", "service_account")

    def __init__(self, facts: ConnectionFacts, trust_domain: str) -> None:
        self.facts = facts
        source = facts.source
        self._foreign = source is not None and source.trust_domain != trust_domain
        self._identity: dict[Attribute, bytes] = {}
        self.client = facts.source_address
        """Whose bucket a limit per client takes from: the principal, or the address where there is none."""
        self.service_account = ""
        """`namespace/name` of a caller of this trust domain."""
        if source is not None:
            account = f"{source.namespace}/{source.service_account}"
            self.client = source.principal
            self.service_account = "" if self._foreign else account
            self._identity["principal"] = source.principal.encode()
            self._identity["namespace"] = source.namespace.encode()
            self._identity["service_account"] = account.encode()

    def mismatch(self, clause: Clause, permits: bool) -> Mismatch | None:
        """Return why a clause about the connection does not hold, or None if it does.

        Raises:
            ValueError: an address of the facts is not an IP address.
        """
        values = self._values(clause.attribute)
        if clause.holds(permits, values.certain, values.possible):
            return None
        return Mismatch(clause, values.shown)

    def _values(self, attribute: Attribute) -> Values:
        facts = self.facts
        match attribute:
            case "source_ip":
                return _sure(pack_address(facts.source_address), facts.source_address)
            case "destination_ip":
                return _sure(pack_address(facts.destination_address), facts.destination_address)
            case "port":
                return _sure(str(facts.destination_port).encode(), str(facts.destination_port))
            case "sni":
                name = facts.sni.lower().encode(errors="surrogateescape")
                return _sure(name, facts.sni) if name else Values((), (), "none")
            case _:
                return self._identity_values(attribute)

    def _identity_values(self, attribute: Attribute) -> Values:
        value = self._identity.get(attribute)
        if value is None:
            return _PLAINTEXT
        if self._foreign and attribute != "principal":
            return Values((), (value,), f"{value.decode()} of another trust domain")
        return _sure(value, value.decode())


def _sure(value: bytes, shown: str) -> Values:
    return Values((value,), (value,), shown)
