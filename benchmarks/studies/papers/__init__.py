"""Published systems as programs, measured: `python -m benchmarks.studies.papers.NAME` for each of `lawful.models.papers`.

Law: a line has a number beside the bar that it is to reach, on fixed seeds; the exit status is the number of lines that
do not reach it.
"""
