"""The colours of code, each with a contrast of at least 4.5 to 1 against what furo puts behind it (WCAG 2, AA)."""

from typing import ClassVar

from pygments.style import Style
from pygments.token import Comment, Error, Generic, Keyword, Name, Number, Operator, String, Token


class Light(Style):
    """Dark ink on #f8f9fb."""

    background_color = "#f8f9fb"
    styles: ClassVar = {
        Token: "#1f2328",
        Comment: "italic #57606a",
        Keyword: "#a3154a",
        Operator.Word: "#a3154a",
        Name.Function: "#5a32a3",
        Name.Class: "#5a32a3",
        Name.Decorator: "#5a32a3",
        Name.Builtin: "#0b5394",
        Name.Tag: "#0b5394",
        String: "#0a5c2b",
        Number: "#0b5394",
        Generic.Prompt: "#57606a",
        Generic.Output: "#3b4148",
        Error: "#1f2328",
    }


class Dark(Style):
    """Light ink on #202020."""

    background_color = "#202020"
    styles: ClassVar = {
        Token: "#e6e6e6",
        Comment: "italic #a0a8b0",
        Keyword: "#ff9db3",
        Operator.Word: "#ff9db3",
        Name.Function: "#d2b3ff",
        Name.Class: "#d2b3ff",
        Name.Decorator: "#d2b3ff",
        Name.Builtin: "#8ecbff",
        Name.Tag: "#8ecbff",
        String: "#9be0a8",
        Number: "#8ecbff",
        Generic.Prompt: "#a0a8b0",
        Generic.Output: "#cfcfcf",
        Error: "#e6e6e6",
    }
