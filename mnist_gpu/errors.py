"""The one exception a user is meant to read: a single line, what, where, what to do."""


def one_line(text: str) -> str:
    """Without line breaks, and without what a terminal would act on."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


class UserError(Exception):
    """Something the user can mend. Entries print it in one line and exit with `exit_code`: 1 for a
    failure, 2 for wrong usage."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(one_line(message))
        self.exit_code = exit_code
