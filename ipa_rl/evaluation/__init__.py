"""Judging controllers: the same arrivals for all, utility with its parts, intervals over windows."""
