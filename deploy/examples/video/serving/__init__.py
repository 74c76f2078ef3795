"""A live pipeline to adapt: stage servers that hold profiled service times, a router, a load generator."""
