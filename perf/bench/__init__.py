"""The benchmark against Envoy, as a library of `perf/run.py` and `perf/profile_worker.py`.

Belongs here: scenarios, contestants and the lab they run in, load, counting of CPU and memory, figures and their tables.
Does not belong here: micro benchmarks (`perf/micro`), the load programs' C (`perf/load`), anything that production imports.
"""
