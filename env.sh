st () 
{ 
    kubectl get fts $1 -o json | jq -r '.status.phase, (.status.conditions[]|.type+" "+.status+" "+.reason+": "+.message)'
}
