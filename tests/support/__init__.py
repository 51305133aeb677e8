"""Shared by black-box tests: a real server process, clients that send raw bytes, a Node process.

Nothing here imports `raffia`: these tests must notice when the package and the protocols drift apart.
"""
