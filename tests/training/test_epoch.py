import jax
import jax.numpy as jnp
import numpy as np

from manual_bp.training.epoch import shuffled
from training_case import KEY, M


def test_every_example_is_used_once_an_epoch():
    x = jnp.arange(M, dtype=jnp.float32)[:, None]
    full, rest = shuffled(x, -x, KEY, 7)
    assert (full[0].shape, rest[0].shape) == ((3, 7, 1), (1, 2, 1))
    seen = np.concatenate([full[0].ravel(), rest[0].ravel()])
    assert sorted(seen) == list(range(M))
    assert list(seen) != list(range(M))
    assert (full[1] == -full[0]).all()
    assert not (shuffled(x, x, jax.random.key(6), 7)[0][0] == full[0]).all()
