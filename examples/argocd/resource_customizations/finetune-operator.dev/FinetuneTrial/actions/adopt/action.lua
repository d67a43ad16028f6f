local job = actionParams["job"]
if job == nil or job == "" then
  error("job: give the id that the provider's console shows", 0)
end

-- The answer holds for the attempt that was looked at, and for no later one.
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["finetune-operator.dev/resolve-create"] = obj.status.create.attempt .. " adopt=" .. job
return obj
