"""Published systems as short programs: one file a paper, with the public language, for public inference.

Law: each program is below 80 lines, has an answer that is known without it in some small case, and is answered by two
different methods that agree. What a paper needs and others can use is no part of it: that is a transformer or a model.
"""
