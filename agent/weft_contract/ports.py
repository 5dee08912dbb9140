"""Reserved ports, packet marks, routing numbers and addresses: every number the kernel or a firewall admin may meet."""

from typing import Final, NewType

Mark = NewType("Mark", int)
"""A packet mark (SO_MARK), compared under `MARK_MASK`; lives inside pod network namespaces only."""

OUTBOUND_PORT: Final = 15001
"""Captured connections that leave a pod; bound to 127.0.0.1 and ::1 inside the pod's namespace."""
INBOUND_PORT: Final = 15006
"""Captured connections that arrive at a pod; bound to 127.0.0.1 and ::1 inside the pod's namespace."""
HBONE_PORT: Final = 15008
"""Reserved for HBONE interoperability; nothing listens there yet."""
CAPTURE_PORTS: Final = frozenset({OUTBOUND_PORT, INBOUND_PORT, HBONE_PORT})
"""Ports at which no application may be reached: a connection whose original destination is one of them is a loop."""

METRICS_PORT: Final = 15020
"""`/metrics` of agent and operator."""
HEALTH_PORT: Final = 15021
"""`/healthz/ready` and `/healthz/live` of agent and operator."""
STREAM_PORT: Final = 15010
"""Operator: config stream and certificate signing."""
WEBHOOK_PORT: Final = 15017
"""Operator: admission webhooks."""
DASHBOARD_PORT: Final = 15030
"""Operator: dashboard and its API."""

PROXY_MARK: Final = Mark(0x539)
"""On every agent listener and upstream socket: never captured again."""
OUT_MARK: Final = Mark(0x53A)
"""On packets of the application that are to be captured."""
BACK_MARK: Final = Mark(0x53B)
"""On the agent's sockets towards the application (source = real client): their replies come back to the agent."""
MARK_MASK: Final = 0xFFF
LOOP_MASK: Final = 0xFFE
"""Under this mask OUT and BACK are equal and PROXY is not: one routing rule serves both."""

ROUTE_TABLE: Final = 133
RULE_PRIORITY: Final = 133

GATE_ADDRESS_V4: Final = "169.254.77.77"
GATE_ADDRESS_V6: Final = "fd77::77"
"""Answered by the agent on `HEALTH_PORT`, and only inside a captured namespace (the capture gate asks there)."""

BACK_PORTS: Final = range(1024, 32768)
"""Source ports the agent picks from for application-facing sockets: below the kernel's default ephemeral range
(32768-60999), so that they cannot meet the port of a captured client of the same address."""
