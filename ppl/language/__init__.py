"""Language: what people write: statements, control flow, padding, memoised functions, and a form run under handlers."""
