"""The closed loop on one machine: profile a pipeline on Ray Serve, train for it, let the agent run it."""
