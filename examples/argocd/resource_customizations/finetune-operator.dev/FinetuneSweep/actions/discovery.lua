local suspended = obj.spec.suspend == true
local phase = obj.status ~= nil and obj.status.phase or nil
local ended = phase == "Succeeded" or phase == "Failed"

local actions = {}

actions["suspend"] = {
  ["disabled"] = suspended or ended,
  ["iconClass"] = "fa fa-fw fa-pause-circle"
}

actions["resume"] = {
  ["disabled"] = not suspended,
  ["iconClass"] = "fa fa-fw fa-play-circle"
}

return actions
