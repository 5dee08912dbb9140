"""The fuzz entry point of the tunnel: `fuzz_one(data)`; run alone, `python fuzz_target.py --seconds 60 [--seed 1] [--keep]`.

`--keep` adds inputs with new outcomes to the corpus beside this file, which `test_fuzz.py` replays with every test run.
"""

import argparse
import sys
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"
sys.path.insert(0, str(CORPUS.parents[3]))

from weft_testing.fuzzing import load, report, run, save  # noqa: E402 - a script finds its helpers first
from weft_testing.tunnel_targets import TARGETS, fuzz_block, fuzz_one  # noqa: E402 - a script finds its helpers first

__all__ = ["CORPUS", "TARGETS", "fuzz_block", "fuzz_one"]
KEPT_MAX = 200


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    corpora = {target.name: CORPUS / f"{target.name}.txt" for target in TARGETS}
    failure = run(TARGETS, corpora, seconds=options.seconds, seed=options.seed)
    report(TARGETS, failure)
    if options.keep:
        for target in TARGETS:
            old = load(corpora[target.name])
            known = {*old, *target.seeds}
            new = sorted((data for data in dict.fromkeys(target.pool) if data not in known), key=len)
            places = max(0, KEPT_MAX - len(old))
            kept = new[:: max(1, -(-len(new) // places))] if places else []  # short and long ones alike
            save(corpora[target.name], [*old, *kept])
    return failure is not None


if __name__ == "__main__":
    raise SystemExit(main())
