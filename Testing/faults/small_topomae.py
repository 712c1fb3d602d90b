"""`topomae` with the small networks of the faults: a process of its own that can be killed while it starts."""

from children import small_networks

from topomae.cli import main

small_networks()
main()
