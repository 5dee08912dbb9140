"""The long fuzz run: `make fuzz ARGS="--seconds 600"`, with `--only h1_head`, `--seed 2`, `--keep`.

Runs every parser of hostile bytes in turn: HTTP/1.1 heads, answers and chunks, paths, hosts, protocol detection, tunnel frames
and header blocks. Ends with 1 at the first broken promise (a crash, a wrong reading, a hang) and adds its input to the corpus.
`--keep` adds inputs with new outcomes to the corpora, which the tests beside them replay with every run.
"""

import argparse
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from weft_testing.fuzzing import FuzzTarget, load, report, run, save  # noqa: E402 - a script finds its helpers first
from weft_testing.http1_targets import TARGETS as HTTP1_TARGETS  # noqa: E402 - a script finds its helpers first
from weft_testing.tunnel_targets import TARGETS as TUNNEL_TARGETS  # noqa: E402 - a script finds its helpers first

FOLDERS: dict[Path, tuple[FuzzTarget, ...]] = {
    TESTS / "conformance" / "http1" / "corpus": HTTP1_TARGETS,
    TESTS / "unit" / "weft_core" / "tunnel" / "corpus": TUNNEL_TARGETS,
}
CORPORA = {target.name: folder / f"{target.name}.txt" for folder, targets in FOLDERS.items() for target in targets}
TARGETS = [target for targets in FOLDERS.values() for target in targets]
KEPT_MAX = 300


def keep(target: FuzzTarget) -> None:
    """Add what a target's pool has beyond its corpus, short and long inputs alike."""
    old = load(CORPORA[target.name])
    known = {*old, *target.seeds}
    new = sorted((data for data in dict.fromkeys(target.pool) if data not in known), key=len)
    places = max(0, KEPT_MAX - len(old))
    save(CORPORA[target.name], [*old, *(new[:: max(1, -(-len(new) // places))] if places else [])])


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    parser.add_argument("--only", action="append", choices=[target.name for target in TARGETS])
    parser.add_argument("--seed", type=int, default=1, help="another one gives other inputs")
    parser.add_argument("--keep", action="store_true", help="add inputs with new outcomes to the corpora")
    options = parser.parse_args()
    targets = [target for target in TARGETS if not options.only or target.name in options.only]
    began = time.monotonic()
    failure = run(targets, CORPORA, seconds=options.seconds, seed=options.seed)
    report(targets, failure, time.monotonic() - began)
    if options.keep:
        for target in targets:
            keep(target)
    return failure is not None


if __name__ == "__main__":
    raise SystemExit(main())
