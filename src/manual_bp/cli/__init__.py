"""The command line: `manual-bp`."""
