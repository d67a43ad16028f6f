"""A real Kubernetes control plane for tests: etcd, API server and controller manager, without containers.

Used from the command line (`python -m controlplane up|down|build|status`, with `tests/` on the path) and by
the fixtures in `controlplane.fixtures`. It knows nothing of the operator: it only starts, stops and reaches a
server. Nothing is imported here, so that the small watcher in `guard` starts without the heavy modules.
"""
