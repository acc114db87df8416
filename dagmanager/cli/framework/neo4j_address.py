"""The Neo4j server of a command: flags win over the settings; a password is never shown."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Final

from dagmanager.cli.framework.arguments import Parser

if TYPE_CHECKING:
    from dagmanager.graph.neo4j.server import Server

_SECRET_BYTES_MAX: Final = 64 * 1024


def add_address(parser: Parser) -> None:
    """The flags of every command that connects to Neo4j."""
    parser.add_argument("--config", metavar="FILE", help="settings file (default: DAGMANAGER_CONFIG)")
    parser.add_argument(
        "--uri", metavar="URI", help="address such as bolt://host:7687 (default: `neo4j_dsn`)"
    )
    parser.add_argument("--user", metavar="NAME", help="user name (default: `neo4j_user`)")
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument(
        "--password",
        metavar="TEXT",
        help="password; visible to other users of this machine: prefer DAGMANAGER_NEO4J_PASSWORD or a file",
    )
    secret.add_argument(
        "--password-file", metavar="FILE", help="file whose first line is the password; `-` for stdin"
    )


def find_server(args: argparse.Namespace) -> Server | None:
    """The server of the flags or the settings, None without an address; warnings go to stderr."""
    from dagmanager.errors import SettingsError
    from dagmanager.graph.neo4j.address import check_address
    from dagmanager.graph.neo4j.server import Server
    from dagmanager.terminal.report import usage
    from dagmanager.terminal.settings_report import load_settings

    settings = load_settings(args.config, os.environ, offline=True)
    uri = settings.neo4j_dsn if args.uri is None else args.uri
    if not uri and args.uri is None:
        return None
    try:
        check_address(uri)
    except SettingsError as error:
        raise usage(str(error)) from error
    user = settings.neo4j_user if args.user is None else args.user
    return Server(uri, user, _password(args, settings.neo4j_password))


def server_of(args: argparse.Namespace) -> Server:
    """The same; a usage error without an address."""
    from dagmanager.terminal.report import usage

    found = find_server(args)
    if found is None:
        raise usage("no Neo4j address", "give --uri bolt://host:7687, or set `neo4j_dsn` in the settings")
    return found


def _password(args: argparse.Namespace, otherwise: str) -> str:
    from dagmanager.cli.framework.input_file import read_input
    from dagmanager.terminal.report import usage

    if args.password_file is None:
        return otherwise if args.password is None else str(args.password)
    lines = read_input(args.password_file, _SECRET_BYTES_MAX).splitlines()
    try:
        return lines[0].decode() if lines else ""
    except UnicodeDecodeError:
        raise usage(f"the first line of {args.password_file} is not a password: it is not UTF-8") from None
