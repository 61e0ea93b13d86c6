"""The doors people use: one file a command, each with `add_parser(subparsers)` and `run(args, settings)`."""
