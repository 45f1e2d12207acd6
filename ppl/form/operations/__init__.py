"""Operations: what a deterministic node may hold, and what is known of JAX's primitives."""
