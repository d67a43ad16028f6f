"""How long a test waits for a state until it gives up.

It does no more than end a test that hangs: whoever waits looks again and again, and goes on as soon as it holds. So
there is one limit for all, which a busy machine that is several times slower does not meet.
"""

PATIENCE_S = 240.0
