-- No trial is launched any more; what was bought goes on.
obj.spec.suspend = true
return obj
