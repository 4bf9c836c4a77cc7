"""Packets that vanish: no error comes, nobody is told. In a file of its own because it takes a minute of waiting."""

from fix_stack import PATIENCE, Stack, until


def test_the_connection_falls_silent(large_stack: Stack) -> None:
    """Packets vanish both ways, so nobody is told of anything: the run notices by itself, and gets through later."""
    large_stack.begin_slowly()
    with large_stack.going_up() as up:
        large_stack.until_copying()
        for chain, end in (("INPUT", "--dport"), ("OUTPUT", "--sport")):
            large_stack.in_network_of("postgres", "iptables", "-I", chain, "-p", "tcp", end, "5432", "-j", "DROP")
        until(lambda: large_stack.events("retry.scheduled"), "the run notices")
        large_stack.in_network_of("postgres", "iptables", "-F")
        assert up.wait(PATIENCE) == 0
    large_stack.assert_all_is_well()
