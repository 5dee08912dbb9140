"""Names and sizes that control and its workers must agree on, for what does not travel in a message."""

from typing import Final

ADOPTION_SOCKET: Final = "sock"
"""Name of the socket in the directory that workers see as `/control`."""

BUCKET_GROUPS: Final = 1024
BUCKETS_PER_GROUP: Final = 64
BUCKETS_BYTES: Final = BUCKET_GROUPS * BUCKETS_PER_GROUP * 16
"""65 536 rate-limit buckets of 16 bytes; see `weft_agent.worker.buckets`."""
