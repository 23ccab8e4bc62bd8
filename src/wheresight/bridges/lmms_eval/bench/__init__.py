"""`wheresight bench`: lmms-eval's benchmarks under several interventions.

lmms-eval runs in a process of its own, and nothing here imports it: what is asked of it is written
into files, and what it says is read.
"""
