"""Arrivals and forecasts: the request trace with its split, synthetic arrivals, forecasters."""
