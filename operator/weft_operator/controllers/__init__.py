"""What only the leader does: conditions and Events, told through kopf when an object changes, and the webhooks' trust.

Belongs here: kopf in a thread of its own as the source of "look at this object", a queue of keys, the reconciler that writes
statuses, Events, and the caBundle of the webhook configurations. Level-triggered throughout: an event says only *which*
object, never what to do, and the same look-up leads to the same status however often it is asked for.
Does not belong here: judging objects (`compile`, kept up to date by `live`), what a status says (`conditions`), serving
anything. Nothing here writes a finalizer or an annotation, or touches an object that is neither ours nor a route's status.
"""

from weft_operator.controllers.resources import WATCHED, Reference, Watched

__all__ = ["WATCHED", "Reference", "Watched"]
