-- wrk's script: asks for 88.100.1/P%08d by /api/handles/, prints one line of JSON.
-- Arguments: how many identifiers there are, the first to ask for, the stride, how many to go round, milliseconds between requests.
local count, first, stride, round, pause, asked, bad

function init(args)
   count, first, stride, round, pause = tonumber(args[1]), tonumber(args[2]), tonumber(args[3]), tonumber(args[4]), tonumber(args[5])
   asked = 0
   bad = 0
   math.randomseed(first + 1)
   if pause > 0 then
      delay = function() return math.random(0, 2 * pause) end
   end
end

function request()
   local place = (first + asked % round) * stride % count
   asked = asked + 1
   return string.format("GET /api/handles/88.100.1/P%08d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", place)
end

function done(summary, latency, requests)
   local e = summary.errors
   io.write(string.format('{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"wrong":%d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      e.connect + e.read + e.write + e.status + e.timeout))
end
