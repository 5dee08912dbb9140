"""The long fuzz run: `python tests/conformance/http1/fuzz.py --seconds 600 [--only h1_head] [--seed 1] [--keep]`.

`--keep` adds inputs with new outcomes to the corpus, which `test_corpus.py` replays with every test run. Another room's
targets (tunnel frames) join by one line in `TARGETS`.
"""

import argparse
import sys
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"
sys.path.insert(0, str(CORPUS.parents[2]))

from weft_testing.fuzzing import FuzzTarget, load, report, run, save  # noqa: E402 - a script finds its helpers first
from weft_testing.http1_targets import TARGETS as HTTP1_TARGETS  # noqa: E402 - a script finds its helpers first

TARGETS: tuple[FuzzTarget, ...] = (*HTTP1_TARGETS,)
KEPT_MAX = 300


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", action="append", choices=[target.name for target in TARGETS])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    targets = [target for target in TARGETS if not options.only or target.name in options.only]
    corpora = {target.name: CORPUS / f"{target.name}.txt" for target in targets}
    failure = run(targets, corpora, seconds=options.seconds, seed=options.seed)
    report(targets, failure)
    if options.keep:
        for target in targets:
            old = load(corpora[target.name])
            known = {*old, *target.seeds}
            new = [data for data in dict.fromkeys(target.pool) if data not in known]
            save(corpora[target.name], [*old, *sorted(new, key=len)[: max(0, KEPT_MAX - len(old))]])
    return failure is not None


if __name__ == "__main__":
    raise SystemExit(main())
