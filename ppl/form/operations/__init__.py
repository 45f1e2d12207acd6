"""Operations: what a deterministic node may hold, and what is known of the primitives of JAX.

A primitive is a row of `numpy_rules.RULES`, its meaning to NumPy, and of `axis_rules.RULES`, which axis of its result
comes from which of its operands.
May import: no other folder.
"""
