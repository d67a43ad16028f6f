"""Carries decisions out: purchases, the watching of jobs, evaluation, deletion. I/O begins here.

It works on a `Store` and does not know which one it has.
"""
