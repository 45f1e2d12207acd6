"""Choice: what `inference.infer` reads off a program, the answers that are exact, and the attempts in their order.

May import: laws, findings, eager, representations, summing, graphs, transformers, kernels, devices, checkpoints,
running, results, plans.
"""
