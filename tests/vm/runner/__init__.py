"""The host's side of the virtual-machine tests."""
