"""Replacements for functions of the standard library, for programs on a host.

- ``module`` installs the replacements; ``places`` finds the names under which code keeps the originals.
- ``stand_ins``: sockets, clocks and chance; ``threads``: locks and threads; ``signals``, ``identity``: what a process
  learns of itself; ``numbers``, ``paths``: descriptors by number, and the names of Unix sockets.
- ``natives`` refuses libraries that open sockets in C, ``fresh`` gives a program modules of its own, ``stalls`` tells
  what a thread does that neither waits in virtual time nor seems to compute.
"""
