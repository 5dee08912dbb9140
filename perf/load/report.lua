-- Prints wrk's result as one line of JSON. Only `done` is defined: `request` and `response` would slow wrk down.
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"operations": %d, "bytes": %d, "seconds": %.6f, "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d, "p50_us": %d, "p99_us": %d}\n',
    summary.requests, summary.bytes, summary.duration / 1e6, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
