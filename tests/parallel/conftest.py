"""Eight virtual devices for the tests of this folder, in a process of their own."""
