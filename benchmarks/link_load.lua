-- wrk's script: asks for /01/09506000134352/21/S%08d, prints one line of JSON.
-- Arguments: how many identifiers there are, the first to ask for, the stride, how many to go round, what to add to the path.
local count, first, stride, round, more, asked

function init(args)
   count, first, stride, round, more = tonumber(args[1]), tonumber(args[2]), tonumber(args[3]), tonumber(args[4]), args[5] or ""
   asked = 0
end

function request()
   local place = (first + asked % round) * stride % count
   asked = asked + 1
   return string.format("GET /01/09506000134352/21/S%08d%s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n", place, more)
end

function done(summary, latency, requests)
   local e = summary.errors
   io.write(string.format('{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"bytes":%d,"wrong":%d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, summary.bytes,
      e.connect + e.read + e.write + e.status + e.timeout))
end
