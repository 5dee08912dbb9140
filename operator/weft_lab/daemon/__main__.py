"""`python -m weft_lab.daemon NAME FD`: the daemon of a lab whose record exists. Started by `weft lab up`, not by people."""

import logging
import os
import sys

from weft_lab.addressing import AddressesExhaustedError
from weft_lab.daemon.run import Daemon
from weft_lab.machine.namespaces import MachineError
from weft_lab.machine.records import read_lab, write_daemon


def main() -> int:
    """Run a lab's daemon to its end, and return the exit status."""
    name, status = sys.argv[1], int(sys.argv[2])
    os.set_inheritable(status, False)
    os.chdir("/")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    record = read_lab(name)
    if record is None:
        os.write(status, f"lab {name} has no record\n".encode())
        return 1
    write_daemon(name, os.getpid())
    try:
        daemon = Daemon(record)
        daemon.prepare()
    except (MachineError, AddressesExhaustedError, OSError) as exc:
        os.write(status, f"{exc}\n".encode())
        return 1
    daemon.run(status)
    return 0


if __name__ == "__main__":
    # threads may hang in a probe for seconds; whoever said to end does not wait for them
    os._exit(main())
