"""The guard of a cluster: waits until the cluster's owner has ended, then takes the cluster away. Run as a module.

It is there for the owner that is killed and takes nothing away itself; whoever ends in order also ends the guard.
"""

import sys
from typing import Final

from weft_testing.cluster.records import destroy, machine_lock, read

_WAIT_S: Final = 3600.0


def main(name: str) -> None:
    """Guard one cluster until it or its owner is gone."""
    record = read(name)
    if record is None or record.owner is None:
        return
    while not record.owner.wait(_WAIT_S):
        pass
    with machine_lock():
        now = read(name)
        if now is not None and now.owner == record.owner and now.orphaned():
            destroy(name)


if __name__ == "__main__":
    main(sys.argv[1])
