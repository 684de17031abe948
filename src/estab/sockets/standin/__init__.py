"""What programs find in place of the standard library's modules.

- ``module`` puts the stand-ins in place; ``places`` finds where the originals were taken to.
- ``stand_ins``: sockets, clocks and chance; ``threads``: locks and threads; ``signals``, ``identity``: what a process
  is told of itself; ``numbers``, ``paths``: descriptors by number, and the names of Unix sockets.
- ``natives`` refuses what goes past Python, ``fresh`` gives a program modules of its own, ``stalls`` tells how a thread
  stands that seems to do nothing.
"""
