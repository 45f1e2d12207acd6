"""Drawing: a form as text, as a graph in DOT, Mermaid and SVG, and as a factor graph.

May import: form, distributions, passes, backends, tracing, language, handlers.
"""
