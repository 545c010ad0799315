"""Models of other libraries as `(net, params)`, their gradients as a `Backprop`, and back.

One module for each library: `pytorch`, `flax`, `equinox` and `keras`. Each has the same three
functions, `network_of`, `gradients_of` and `model_of`. Only the module that you import needs its
library, and nothing else in this package imports them.
"""
