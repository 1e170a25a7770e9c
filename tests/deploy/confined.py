"""Begins a command under what a unit says of system calls: confined.py UNIT COMMAND...

Whatever the unit's filter refuses ends the process here, where systemd only refuses it: what runs here needs none of it.
"""

import os
import re
import subprocess
import sys

import seccomp

# Address families by number, as the system call names them.
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
PROT_WRITE, PROT_EXEC = 2, 4
EAFNOSUPPORT, ENOSYS = 97, 38


def settings(path):
    """The settings of the unit, each with the words of every line that it has."""
    found = {}
    with open(path, encoding="utf-8") as unit:
        for line in unit:
            if match := re.fullmatch(r"(\w+)=(.*)\n", line):
                found.setdefault(match[1], []).append(match[2].split())
    return found


def sets():
    """The sets of system calls that systemd knows."""
    text = subprocess.run(["systemd-analyze", "syscall-filter"], check=True, capture_output=True, text=True).stdout
    found, name = {}, None
    for line in text.splitlines():
        word = line.strip()
        if line.startswith("@"):
            name = word
            found[name] = []
        elif line.startswith("#"):
            # what the kernel has beyond the sets
            name = None
        elif name and word and not word.startswith("#"):
            found[name].append(word)
    return found


def calls(words, known):
    """The system calls that `words` stand for."""
    for word in words:
        if word.startswith("@"):
            yield from calls(known[word], known)
        else:
            yield word


def allowed(filters, known):
    """What is left when the filters are applied one after the other: those that begin with ~ take away."""
    left = set()
    for words in filters:
        named = set(calls([word.removeprefix("~") for word in words], known))
        left = left - named if words[0].startswith("~") else left | named
    return left


def confine(unit):
    said = settings(unit)
    # conditions of their own, below
    special = {"socket", "mmap", "mprotect", "clone3"}
    rules = seccomp.SyscallFilter(seccomp.KILL_PROCESS)
    for call in sorted(allowed(said["SystemCallFilter"], sets()) - special):
        try:
            rules.add_rule(seccomp.ALLOW, call)
        except (RuntimeError, ValueError):
            continue  # of another architecture, or newer than the library
    families = {FAMILIES[name] for name in said["RestrictAddressFamilies"][0]}
    for family in range(46):
        action = seccomp.ALLOW if family in families else seccomp.ERRNO(EAFNOSUPPORT)
        rules.add_rule(action, "socket", seccomp.Arg(0, seccomp.EQ, family))
    assert said["MemoryDenyWriteExecute"] == [["yes"]] and said["RestrictNamespaces"] == [["yes"]]
    for writes_or_runs in (0, PROT_WRITE, PROT_EXEC):
        rules.add_rule(seccomp.ALLOW, "mmap", seccomp.Arg(2, seccomp.MASKED_EQ, PROT_WRITE | PROT_EXEC, writes_or_runs))
    rules.add_rule(seccomp.ALLOW, "mprotect", seccomp.Arg(2, seccomp.MASKED_EQ, PROT_EXEC, 0))
    # its flags cannot be looked into: systemd says that the kernel does not have it
    rules.add_rule(seccomp.ERRNO(ENOSYS), "clone3")
    rules.load()


if __name__ == "__main__":
    confine(sys.argv[1])
    os.execv(sys.argv[2], sys.argv[2:])
