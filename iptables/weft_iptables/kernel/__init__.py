"""What the kernel has, read straight from it, and the few things that are set without a rule tool.

Belongs here: netlink, socket options and /proc, as typed values; everything acts on the namespace of the calling thread.
Does not belong here: what *should* be there (`plan`, `backends`), entering a namespace (`namespaces`).
Reads are our own few lines rather than pyroute2's decoder because a check of one pod, each second, has to cost about a
millisecond. Sets, routing rules and routes are made and removed through pyroute2.
"""
