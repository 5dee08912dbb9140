"""The agent's side of the control plane: one stream of configuration from the operator, one certificate per service account.

Belongs here: the connection to the operator, what is held and acknowledged, the snapshot on disk, asking for certificates.
Does not belong here: what resources mean (`weft_core`), telling workers (`weft_agent.control`), files as a source of
configuration (`weft_agent.control.config_files`).
"""
