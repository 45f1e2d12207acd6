"""Published systems as programs, measured: `python -m benchmarks.studies.papers.NAME`, one for each program.

Law: a line has a number beside the bar that it is to reach, on fixed seeds; the exit status is the number of lines that
do not reach it.
"""
