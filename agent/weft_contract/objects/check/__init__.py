"""What a shape cannot say: the rules between fields and the grammar of texts, as problems, all at once.

Belongs here: one module per kind with rules, and `text` with the grammars they share. Pure: what needs a library that the
contract does not have (RE2) comes in as a function.
Does not belong here: anything that needs a second object (does the Service exist?); that is the compiler's.
"""

from weft_contract.objects.check.dispatch import problems
from weft_contract.objects.check.text import RegexError

__all__ = ["RegexError", "problems"]
