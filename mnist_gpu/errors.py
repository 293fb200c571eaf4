"""The one exception a user is meant to read: a single line, what, where, what to do."""


class UserError(Exception):
    """Something the user can mend. Entries print it in one line and exit with `exit_code`.

    `exit_code` follows the usual convention: 1 for a failure, 2 for wrong usage.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        # a value that is quoted may hold line breaks, or what a terminal would act on
        super().__init__("".join(c if c.isprintable() else " " for c in message))
        self.exit_code = exit_code
