-- The answer holds for the attempt that was looked at, and for no later one.
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["finetune-operator.dev/resolve-create"] = obj.status.create.attempt .. " retry"
return obj
