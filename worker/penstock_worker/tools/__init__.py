"""Tools that a task may offer to its model, and the decorator that registers one."""

from penstock_worker.tools.definition import Tool, ToolContext, ToolError, tool, tools

__all__ = ["Tool", "ToolContext", "ToolError", "tool", "tools"]
