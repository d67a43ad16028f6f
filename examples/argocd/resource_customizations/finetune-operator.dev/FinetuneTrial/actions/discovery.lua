-- Only where nobody but a person can tell what became of a create call is there something to answer.
local status = obj.status
local asked = status ~= nil and status.phase == "Stalled" and status.create ~= nil and status.create.state == "Unknown"

local actions = {}

actions["retry"] = {
  ["disabled"] = not asked,
  ["displayName"] = "There is no job: buy one",
  ["iconClass"] = "fa fa-fw fa-redo"
}

actions["adopt"] = {
  ["disabled"] = not asked,
  ["displayName"] = "There is a job: adopt it",
  ["iconClass"] = "fa fa-fw fa-link",
  ["params"] = {
    {
      ["name"] = "job"
    }
  }
}

actions["abandon"] = {
  ["disabled"] = not asked,
  ["displayName"] = "Give the trial up",
  ["iconClass"] = "fa fa-fw fa-ban"
}

return actions
