"""What is known is put aside for the garbage collector, and it goes on collecting what comes."""

import subprocess
import sys

PROGRAM = """
import gc
from weft_operator.server import collector
kept = [[] for _ in range(100_000)]
collector.settle()
assert gc.get_freeze_count() > 100_000
assert gc.get_threshold() == collector.THRESHOLDS
assert gc.isenabled()
"""


def test_it_is_put_aside() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
