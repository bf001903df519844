"""Runners on one's own machine: a real Flink cluster of several processes, and the binary of Prism.

Only what Python brings is imported, so that none of it depends on the environment that it is to serve.
"""
