"""The store behind which Kubernetes stands, and the watch that keeps it up to date."""
