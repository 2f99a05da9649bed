-- wrk's own report rounds; this one line gives its counters exactly.
done = function(summary, latency, requests)
  io.write(string.format(
    '\nresult {"requests":%d,"bytes":%d,"microseconds":%d,"p50":%d,"p99":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
    summary.requests, summary.bytes, summary.duration,
    latency:percentile(50), latency:percentile(99),
    summary.errors.connect, summary.errors.read, summary.errors.write,
    summary.errors.status, summary.errors.timeout))
end
