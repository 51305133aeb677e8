"""What black-box tests share: a real server process, clients that speak bytes, Node beside Python.

Nothing here imports `raffia`: these tests must notice when the package and the protocols drift apart.
"""
