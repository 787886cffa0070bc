"""What a file imports."""

import ast


def imports(source):
    """Every module that is imported, with its dotted name; also what only a type checker sees."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names) if module == "include" else [module]
