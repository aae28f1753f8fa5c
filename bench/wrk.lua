-- One of these requests, by its name: wrk … -s wrk.lua URL -- get|list|create|sql|mcp|mcp_alone KEY FILE-OF-IDS STAMP

local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(args)
  name, stamp = args[1], args[4]
  ids, created = {}, 0
  for id in io.lines(args[3]) do ids[#ids + 1] = id end
  math.randomseed(number * 7919)
  wrk.headers["Authorization"] = "Bearer " .. args[2]
  wrk.headers["Content-Type"] = "application/json"
end

local function any_id()
  return ids[math.random(#ids)]
end

local requests = {
  get = function() return wrk.format("GET", "/v1/contacts/" .. any_id()) end,
  list = function() return wrk.format("GET", "/v1/contacts?limit=50") end,
  create = function()
    created = created + 1
    local email = string.format("w%s-%d-%d@bench.example", stamp, number, created)
    return wrk.format("POST", "/v1/contacts", nil, string.format('{"email":"%s","first_name":"Ada","last_name":"Byron"}', email))
  end,
  sql = function()
    return wrk.format("POST", "/v1/sql", nil, string.format('{"sql":"select * from contacts where id = $1","params":["%s"]}', any_id()))
  end,
}

local function get_contact(more)
  local call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_contact","arguments":{"id":"%s"%s}}}'
  return wrk.format("POST", "/mcp", nil, string.format(call, any_id(), more))
end

-- With what belongs beside the contact, and with its own fields alone, as REST returns it.
requests.mcp = function() return get_contact("") end
requests.mcp_alone = function()
  return get_contact(',"fields":["email","first_name","last_name","phone","title","company_id","custom","created_at","updated_at","deleted_at"]')
end

function request()
  return requests[name]()
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format('RESULT {"requests":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f,"refused":%d,"broken":%d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
