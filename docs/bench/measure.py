#!/usr/bin/env python3
"""Runs a command and says what it cost. measure.py LABEL ROWS COMMAND…

Time of the command and all its children, peak memory of the largest of them, as the kernel counted.
"""
import resource, subprocess, sys, time

label, rows, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
start = time.monotonic()
done = subprocess.run(command, stdout=subprocess.DEVNULL)
wall = time.monotonic() - start
used = resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = used.ru_utime + used.ru_stime
peak = used.ru_maxrss / 1024  # KiB on Linux
print(f"{label:8} {rows / wall:>10,.0f} records/s {wall:>7.2f} s {cpu:>7.2f} CPU s {cpu * 1e6 / rows:>6.2f} CPU s/M {peak:>7.1f} MiB", flush=True)
sys.exit(done.returncode)
