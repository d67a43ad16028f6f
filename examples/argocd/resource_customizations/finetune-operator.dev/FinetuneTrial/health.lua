local health = {status = "Progressing", message = "Not seen by the operator yet"}

if obj.metadata.deletionTimestamp ~= nil then
  health.message = "Its job is being cancelled"
  return health
end

-- Until the operator has looked at the newest manifest, its conditions speak of an older one.
local status = obj.status
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end

local ready, stalled = nil, nil
for _, condition in ipairs(status.conditions) do
  if condition.type == "Ready" then
    ready = condition
  elseif condition.type == "Stalled" and condition.status == "True" then
    stalled = condition
  end
end

-- Stalled: nothing changes any more unless a person does something.
if stalled ~= nil then
  health.status = "Degraded"
  health.message = stalled.reason .. ": " .. (stalled.message or "")
  return health
end

if ready ~= nil then
  health.message = ready.reason .. ": " .. (ready.message or "")
  if ready.status == "True" then
    health.status = "Healthy"
  end
end

return health
