"""The table of docs/programs.md: what programs that people run do on hosts of the lab, each tried as its users would.

    make programs                                       all of it, in an environment of its own (build/programs)
    python -m tools.programs --only "redis-py; httpx"       some entries, in this environment; prints what came of them
    python -m tools.programs --page docs/programs.md    all, and the table into the page and its JSON

- An entry is a server, a client and the right outcome. They are programs as anybody writes them; ``rest`` is the only
  word that they have from here: two virtual seconds between two exchanges, whose end is noted.
- Each run is a process of its own with a limit in real seconds, so a run that hangs is a result.
- The plain run is made twice, in two processes with hash seeds of their own, and the captures are compared.
- Then the same with a fault 10 ms after the second exchange began: the cable is cut for good; or the server loses its
  power for 60 s and then boots, and its program starts anew.
"""
