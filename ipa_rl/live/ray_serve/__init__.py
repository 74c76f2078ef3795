"""Pipelines on Ray Serve: deployments as stages, over Serve's REST API and metrics. Imports no ray."""
