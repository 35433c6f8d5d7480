-- Ends every run with one line for the harness to read.
-- No response() is defined here: with one, wrk would parse every header and become the bottleneck.
function done(summary, latency)
  local failed = summary.errors
  io.write(string.format(
    "totals requests=%d microseconds=%d refused=%d broken=%d p99=%d\n",
    summary.requests,
    summary.duration,
    failed.status,
    failed.connect + failed.read + failed.write + failed.timeout,
    latency:percentile(99)
  ))
end
