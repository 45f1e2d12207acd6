"""Operations: what a deterministic node may hold, and what is known of the primitives of JAX.

A primitive is a row of `primitive_rows.ROWS`; `equation` says what is asked of an operation, and `from_jaxpr` reads a
program of JAX as nodes. Nothing else reads them.
May import: no other folder.
"""
