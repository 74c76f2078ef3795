"""Live clusters: Kubernetes, Ray Serve, their loads, and the rehearsal."""
