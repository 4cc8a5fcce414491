"""What other frameworks stored, read as Satchel's: their layouts, whatever the backend.

An adapter puts `Grammy` or `Aiogram` before its own class, and gives the two a URL scheme: `grammy+redis://…`.
`docs/moving.md` is for those who move a bot.
"""
