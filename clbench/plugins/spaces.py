"""Takes the spaces that settings are tuned over out of a plug-in's code: they change no result."""

from __future__ import annotations

import ast

MODULE = "clbench.space"


def without_spaces(tree: ast.Module) -> None:
    """Remove, in place, what fields declare as ``"space"`` and the imports that only this needs.

    What is left is the code of a plug-in that declares none: ``field(default=1.0,
    metadata={"space": Log(0.1, 10)})`` becomes ``1.0``.
    """
    calls = [node for node in ast.walk(tree) if _is_field(node) and _drop_space(node)]  # type: ignore[arg-type]
    if not calls:
        return
    _Simpler(calls).visit(tree)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for statement in body:
            if isinstance(statement, ast.ImportFrom) and statement.module == "dataclasses":
                needed = [a for a in statement.names if (a.asname or a.name) in used]
                gone = [a.name for a in statement.names if a not in needed]
                statement.names = needed if gone == ["field"] else statement.names
        node.body = [  # type: ignore[attr-defined]
            s
            for s in body
            if not (isinstance(s, ast.ImportFrom) and (s.module == MODULE or not s.names))
        ]


def _is_field(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in ("field", "dataclasses.field")


def _drop_space(call: ast.Call) -> bool:
    """Remove the key ``"space"`` of a field's metadata; whether there was one."""
    for word in call.keywords:
        if word.arg != "metadata" or not isinstance(word.value, ast.Dict):
            continue
        pairs = [*zip(word.value.keys, word.value.values, strict=True)]
        kept = [
            (k, v) for k, v in pairs if not (isinstance(k, ast.Constant) and k.value == "space")
        ]
        if len(kept) < len(pairs):
            word.value.keys = [k for k, _ in kept]
            word.value.values = [v for _, v in kept]
            if not kept:
                call.keywords.remove(word)
            return True
    return False


class _Simpler(ast.NodeTransformer):
    """Writes a field that is left with a default alone as that default."""

    def __init__(self, calls: list[ast.AST]) -> None:
        self.calls = calls

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        alone = len(node.keywords) == 1 and node.keywords[0].arg == "default" and not node.args
        return node.keywords[0].value if alone and node in self.calls else node
