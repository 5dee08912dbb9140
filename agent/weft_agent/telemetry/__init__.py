"""What is counted and told: metric families, counters in shared memory, access log, the agent's own log.

Belongs here: declaration of every metric, the worker's side (cells, series, records) and control's side (exposition, sink).
Does not belong here: what is worth counting at which moment (the proxy rooms call in), HTTP (`weft_agent.control.http`).
Labels come from Kubernetes metadata and config only, never from what a client sent (threat T17).
"""
