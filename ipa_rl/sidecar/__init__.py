"""The sidecar: the control loop beside a live cluster, and everything that people see of it."""
