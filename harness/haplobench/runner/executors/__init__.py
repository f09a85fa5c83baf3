"""Executors: where the processes of stages run, this machine or a cluster."""
