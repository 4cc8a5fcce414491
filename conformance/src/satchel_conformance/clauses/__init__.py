"""The clauses, by theme. Each is an async function whose docstring says what must hold."""
