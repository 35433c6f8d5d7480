-- Asks for every path of the table `paths`, in turn. The harness writes that table above this file.
-- The requests are built once, before the run, so that a turn costs wrk one table look-up.
local requests = {}
local turn = 0

function init()
  for i, path in ipairs(paths) do
    requests[i] = wrk.format("GET", path)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end
