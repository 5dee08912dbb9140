"""A worker process: nobody, no capability, no file, no socket of its own making; it holds the connections.

Belongs here: boot and sandbox, the channel's end, shared rate-limit buckets, and the seam to the data plane (`dataplane`).
Does not belong here: what happens to bytes (`weft_agent.reactor`, `weft_agent.proxy`), anything that needs privilege.
Everything a worker will ever import must be imported before the sandbox: afterwards there is no file system.
"""
