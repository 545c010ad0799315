"""Mistakes that people make in the way back of these layers, each planted in the library's page."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradients.cases import LAYERS, Case, Gradients
from gradients.edited import Edit, edited


class Mistake(NamedTuple):
    """One mistake in one layer.

    Attributes:
        name: what was done.
        layer: where.
        wrong: the arguments whose gradients are wrong, and no others.
        edits: of the page.
        cotangent: what was made of the cotangent before all else.
    """

    name: str
    layer: str
    wrong: tuple[str, ...]
    edits: tuple[Edit, ...] = ()
    cotangent: Callable[[Any], Any] | None = None

    def gradients(self, case: Case) -> Gradients:
        """The gradients of a case, by order of its arguments, with this mistake in them."""
        if self.cotangent:
            case = case._replace(cotangent=jax.tree.map(self.cotangent, case.cotangent))
        return case.gradients(case.of(edited(self.layer, self.edits)))


def _planted(layer: str, wrong: str, name: str, *edits: str) -> Mistake:
    pairs = tuple(zip(edits[::2], edits[1::2], strict=True))
    return Mistake(name, layer, tuple(wrong.split()), pairs)


LN, RMS, BN = "layernorm", "rmsnorm", "batchnorm"
CE, DROP, EMB, CONV = "softmax_cross_entropy", "dropout", "embedding", "conv2d"
RNN, LSTM, ATT, GLU = "rnn", "lstm", "attention", "swiglu"
ARGUMENTS = {
    LN: "x gamma beta",
    RMS: "x gamma",
    BN: "x gamma beta",
    CE: "logits",
    DROP: "x",
    EMB: "table",
    CONV: "x W b",
    RNN: "x h_0 W U b",
    LSTM: "x h_0 c_0 W U b",
    ATT: "q k v",
    GLU: "x W V",
}
STD = "jnp.sqrt(((x_ - mu) ** 2).mean(axis=-1, keepdims=True){})"
RMS_STD = "jnp.sqrt((x_**2).mean(axis=-1, keepdims=True){})"
BN_STD = "jnp.sqrt(((x_ - mu) ** 2).mean(axis=examples){})"

IN_ONE_LAYER = (
    # ── layernorm
    _planted(LN, "x", "mean term missing", "dx_hat - mean_dx_hat - x_hat", "dx_hat - x_hat"),
    _planted(LN, "x", "mean subtracted twice", "- mean_dx_hat -", "- 2 * mean_dx_hat -"),
    _planted(LN, "x", "variance term missing", " - x_hat * mean_along)", ")"),
    _planted(LN, "x", "variance term added", "- x_hat * mean_along", "+ x_hat * mean_along"),
    _planted(LN, "x", "variance term twice", "- x_hat * mean_along", "- 2 * x_hat * mean_along"),
    _planted(LN, "x", "rstd missing", "dx = r * (", "dx = ("),
    _planted(LN, "x", "rstd twice", "dx = r * (", "dx = r * r * ("),
    _planted(LN, "x", "sum for mean", "= dx_hat.mean(", "= dx_hat.sum("),
    _planted(LN, "x", "sum for mean of the variance term", "x_hat).mean(", "x_hat).sum("),
    _planted(LN, "x", "mean over the wrong axis", "dx_hat.mean(axis=-1", "dx_hat.mean(axis=0"),
    _planted(LN, "x", "variance term over the wrong axis", "x_hat).mean(axis=-1", "x_hat).mean(axis=0"),
    _planted(LN, "x", "unbiased count", "x_hat * mean_along", "x_hat * mean_along * x.shape[-1] / (x.shape[-1] - 1)"),
    _planted(LN, "x", "gamma missing", "dx_hat = gamma_ * dy", "dx_hat = dy"),
    _planted(LN, "x", "gamma outside of the means", "dx_hat = gamma_ * dy", "dx_hat = dy", "dx = r *", "dx = gamma_ * r *"),
    _planted(LN, "x gamma", "x not divided by its deviation", "x_hat = (x_ - mu) * r", "x_hat = x_ - mu"),
    _planted(LN, "x gamma", "x not centred", "x_hat = (x_ - mu) * r", "x_hat = x_ * r"),
    _planted(LN, "x gamma", "epsilon missing", "x_hat = (x_ - mu) * r", f"r = 1 / {STD.format('')}\n    x_hat = (x_ - mu) * r"),
    _planted(LN, "x gamma", "epsilon outside of the root", "x_hat = (x_ - mu) * r", f"r = 1 / ({STD.format('')} + eps)\n    x_hat = (x_ - mu) * r"),
    _planted(LN, "gamma", "x for x-hat in dgamma", "(dy * x_hat).sum", "(dy * x_).sum"),
    _planted(LN, "gamma", "dgamma a mean", "(dy * x_hat).sum", "(dy * x_hat).mean"),
    _planted(LN, "gamma", "dgamma of dx-hat", "(dy * x_hat).sum", "(dx_hat * x_hat).sum"),
    _planted(LN, "beta", "dbeta a mean", "dbeta = dy.sum", "dbeta = dy.mean"),
    # ── rmsnorm
    _planted(RMS, "x", "mean-square term missing", " - x_hat * mean_along)", ")"),
    _planted(RMS, "x", "mean-square term added", "- x_hat * mean_along", "+ x_hat * mean_along"),
    _planted(RMS, "x", "layernorm's mean subtracted too", "(dx_hat - x_hat", "(dx_hat - dx_hat.mean(axis=-1, keepdims=True) - x_hat"),
    _planted(RMS, "x", "x for x-hat", "- x_hat * mean_along", "- x_ * mean_along"),
    _planted(RMS, "x", "rstd missing", "dx = r * (", "dx = ("),
    _planted(RMS, "x", "sum for mean", "x_hat).mean(", "x_hat).sum("),
    _planted(RMS, "x", "gamma missing", "dx_hat = gamma_ * dy", "dx_hat = dy"),
    _planted(RMS, "gamma", "gamma's gradient has gamma", "(dy * x_hat).sum", "(dx_hat * x_hat).sum"),
    _planted(RMS, "x gamma", "epsilon missing", "x_hat = x_ * r", f"r = 1 / {RMS_STD.format('')}\n    x_hat = x_ * r"),
    _planted(RMS, "x gamma", "epsilon outside of the root", "x_hat = x_ * r", f"r = 1 / ({RMS_STD.format('')} + eps)\n    x_hat = x_ * r"),
    # ── batchnorm
    _planted(BN, "x", "variance term missing", " - x_hat * (dgamma / m))", ")"),
    _planted(BN, "x", "mean term missing", "(dy - dbeta / m - x_hat", "(dy - x_hat"),
    _planted(BN, "x", "as in evaluation", "(dy - dbeta / m - x_hat * (dgamma / m))", "dy"),
    _planted(BN, "x", "unbiased count", "x_hat * (dgamma / m)", "x_hat * (dgamma / (m - 1))"),
    _planted(BN, "x", "sum for mean", "dy - dbeta / m", "dy - dbeta"),
    _planted(BN, "x", "features counted as examples", "math.prod(x.shape[:-1])", "math.prod(x.shape)"),
    _planted(BN, "x", "gamma missing", "dx = gamma_ * r *", "dx = r *"),
    _planted(BN, "x", "rstd missing", "dx = gamma_ * r *", "dx = gamma_ *"),
    _planted(BN, "x", "the mean's own error lost", "dx = dx + dmu / m + ", "dx = dx + "),
    _planted(BN, "x", "the variance's own error lost", " + 2 * (x_ - mu) * (dv / m)", ""),
    _planted(BN, "x", "the variance's 2 lost", "2 * (x_ - mu)", "(x_ - mu)"),
    _planted(BN, "x gamma", "epsilon outside of the root", "x_hat = (x_ - mu) * r", f"r = 1 / ({BN_STD.format('')} + eps)\n    x_hat = (x_ - mu) * r"),
    _planted(BN, "gamma x", "x not centred", "x_hat = (x_ - mu) * r", "x_hat = x_ * r"),
    # ── softmax_cross_entropy
    _planted(CE, "logits", "label's one missing", "(p - is_label)", "p"),
    _planted(CE, "logits", "sign", "(p - is_label)", "(is_label - p)"),
    _planted(CE, "logits", "softmax not normalised", "p = jnp.exp(z - log_sum)", "p = jnp.exp(z - z.max(axis=-1, keepdims=True))"),
    _planted(CE, "logits", "softmax's own slope as well", "(p - is_label)", "((p - is_label) * p * (1 - p))"),
    _planted(CE, "logits", "mean over the rows once more", "dC[..., None] *", "dC[..., None] / labels.size *"),
    _planted(CE, "logits", "label of the class beside", "jnp.arange(z.shape[-1])", "jnp.arange(z.shape[-1]) - 1"),
    _planted(CE, "logits", "cotangent of the rows added up", "dC[..., None] *", "dC.sum() *"),
    # ── dropout
    _planted(DROP, "x", "1/(1 - p) missing", "dy_ / (1 - rate)", "dy_"),
    _planted(DROP, "x", "1/(1 - p) twice", "dy_ / (1 - rate)", "dy_ / (1 - rate) ** 2"),
    _planted(DROP, "x", "mask missing", "jnp.where(mask, dy_ / (1 - rate), 0)", "dy_ / (1 - rate)"),
    _planted(DROP, "x", "mask drawn anew", "jnp.where(mask, dy_", "jnp.where(jax.random.bernoulli(jax.random.key(7), 1 - rate, mask.shape), dy_"),
    _planted(DROP, "x", "mask the other way round", "jnp.where(mask, dy_", "jnp.where(~mask, dy_"),
    _planted(DROP, "x", "multiplied by 1 - p", "dy_ / (1 - rate)", "dy_ * (1 - rate)"),
    # ── embedding
    _planted(EMB, "table", "overwritten instead of added", ".add(dy, mode", ".set(dy, mode"),
    _planted(EMB, "table", "padding row gets a gradient", "(ids == padding_id)[..., None], 0, dy", "(ids == padding_id)[..., None], dy, dy"),
    _planted(EMB, "table", "divided by how often", "return dE.astype", "dE = dE / jnp.maximum(jnp.bincount(ids.ravel(), length=len(shape)), 1)[:, None]\n    return dE.astype"),
    _planted(EMB, "table", "rows shifted by one", "dE.at[ids]", "dE.at[ids - 1]"),
    _planted(EMB, "table", "last position lost", ".add(dy, mode", ".add(dy.at[(-1,) * (dy.ndim - 1)].set(0), mode"),
    # ── conv2d
    _planted(CONV, "x", "kernel flipped", "dy @ W_[ij].T", "dy @ W_[-1 - ij[0], -1 - ij[1]].T"),
    _planted(CONV, "W", "kernel's gradient flipped", "dW.at[ij]", "dW.at[-1 - ij[0], -1 - ij[1]]"),
    _planted(CONV, "x", "stride lost in dx", "dx = dx.at[at].add", "dx = dx.at[:, ij[0] : ij[0] + dy.shape[1], ij[1] : ij[1] + dy.shape[2]].add"),
    _planted(CONV, "W", "stride lost in dW", 'x_[at], dy)', 'x_[:, ij[0] : ij[0] + dy.shape[1], ij[1] : ij[1] + dy.shape[2]], dy)'),
    _planted(CONV, "x", "padding not cut off", "dx[:, top : top + x.shape[1], left : left + x.shape[2]]", "dx[:, : x.shape[1], : x.shape[2]]"),
    _planted(CONV, "x", "places overwritten instead of added", "dx = dx.at[at].add", "dx = dx.at[at].set"),
    _planted(CONV, "W", "dW a mean over the examples", ", dy))", ", dy) / x.shape[0])"),
    _planted(CONV, "b", "db a mean", "dy.sum(axis=(0, 1, 2))", "dy.mean(axis=(0, 1, 2))"),
    _planted(CONV, "b", "db of the first image", "dy.sum(axis=(0, 1, 2))", "dy[0].sum(axis=(0, 1))"),
    _planted(CONV, "x W b", "last row of outputs lost", "(x, W, dy)", "(x, W, dy.at[:, -1].set(0))"),
    # ── rnn
    _planted(RNN, "x h_0 W U b", "truncated to one step", "(dh_t + from_next) *", "dh_t *"),
    _planted(RNN, "x h_0 W U b", "tanh's slope missing", " * (1 - h_t**2)", ""),
    _planted(RNN, "x h_0 W U b", "tanh's slope of the output's error alone", "(dh_t + from_next) * (1 - h_t**2)", "dh_t * (1 - h_t**2) + from_next"),
    _planted(RNN, "x h_0 W U b", "sigmoid's slope for tanh's", "(1 - h_t**2)", "h_t * (1 - h_t)"),
    _planted(RNN, "x h_0 W U b", "U transposed", "delta @ U_, delta", "delta @ U_.T, delta"),
    _planted(RNN, "U", "h of the same step in dU", "delta, h_prev)", "delta, h)"),
    _planted(RNN, "U", "first step forgotten in dU", "delta, h_prev)", "delta[1:], h[:-1])"),
    _planted(RNN, "W", "dW of the last step alone", "delta, x_)", "delta[-1:], x_[-1:])"),
    _planted(RNN, "b", "db a mean over the steps", "delta.sum(axis=(0, 1))", "delta.sum(axis=(0, 1)) / len(x)"),
    _planted(RNN, "x h_0 W U b", "only the last h's error", "(dh, h), reverse", "(dh.at[:-1].set(0), h), reverse"),
    _planted(RNN, "h_0", "h_0 taken as a constant", "(dh_0, h_0)", "(0 * dh_0, h_0)"),
    # ── lstm
    _planted(LSTM, "x h_0 c_0 W U b", "forget gate's path missing", "(delta @ U_, f * dc_t)", "(delta @ U_, 0 * dc_t)"),
    _planted(LSTM, "x h_0 c_0 W U b", "forget gate not applied", "(delta @ U_, f * dc_t)", "(delta @ U_, dc_t)"),
    _planted(LSTM, "x h_0 c_0 W U b", "path through h missing", "dh_t = dh_t + from_next[0]", "pass"),
    _planted(LSTM, "x h_0 c_0 W U b", "slope of tanh(c) missing", " * (1 - tanh_c**2)", ""),
    _planted(LSTM, "x h_0 c_0 W U b", "c itself in the output gate's error", "do = dh_t * tanh_c", "do = dh_t * c_t"),
    _planted(LSTM, "x h_0 c_0 W U b", "c of the same step in the forget gate", "df = dc_t * c_before", "df = dc_t * c_t"),
    _planted(LSTM, "x h_0 c_0 W U b", "forget gate's slope missing", " * f * (1 - f)", ""),
    _planted(LSTM, "x h_0 c_0 W U b", "input gate's slope missing", " * i * (1 - i)", ""),
    _planted(LSTM, "x h_0 c_0 W U b", "sigmoid's slope for the cell's tanh", "i * (1 - g**2)", "i * g * (1 - g)"),
    _planted(LSTM, "x h_0 c_0 W U b", "gates in another order", "[di, df, dg, do]", "[di, df, do, dg]"),
    _planted(LSTM, "x h_0 c_0 W U b", "error of c at the output ignored", "dc_t = dc_t + from_next[1]", "dc_t = from_next[1]"),
    _planted(LSTM, "U", "h of the same step in dU", "delta, h_prev)", "delta, h)"),
    # ── attention
    _planted(ATT, "q k v", "mask missing", "P = jnp.exp(scores(q_[i], k_[j], i, j)", "P = jnp.exp(scores(q_[i], k_[j], i + len(q_), j)"),
    _planted(ATT, "q k v", "mask off by one", "P = jnp.exp(scores(q_[i], k_[j], i, j)", "t = jnp.arange(block)\n        P = jnp.exp(jnp.where(i * block + t[:, None] > j * block + t, scores(q_[i], k_[j], i, j), -jnp.inf)"),
    _planted(ATT, "q k v", "last block missing", "start, pairs(len(q_)))", "start, pairs(len(q_))[:-1])"),
    _planted(ATT, "q k v", "blocks on the diagonal alone", "start, pairs(len(q_)))", "start, jnp.stack([jnp.arange(len(q_))] * 2, axis=1))"),
    _planted(ATT, "q k", "D term missing", "(dP - D[i])", "dP"),
    _planted(ATT, "q k", "D term added", "(dP - D[i])", "(dP + D[i])"),
    _planted(ATT, "q k", "D of o alone", "(do_ * o_).sum", "(o_ * o_).sum"),
    _planted(ATT, "q k", "D a mean", "(do_ * o_).sum", "(do_ * o_).mean"),
    _planted(ATT, "q k", "scale missing", "scale = 1 / math.sqrt(q.shape[-1])", "scale = 1"),
    _planted(ATT, "q k", "scale twice", "scale = 1 / math.sqrt(q.shape[-1])", "scale = 1 / q.shape[-1]"),
    _planted(ATT, "k", "scale missing in dk", "scale * jnp.einsum", "jnp.einsum"),
    _planted(ATT, "q k", "P missing in dS", "dS = P * (dP - D[i])", "dS = jnp.where(P > 0, dP - D[i], 0)"),
    _planted(ATT, "q k v", "largest for log-sum-exp", "largest + jnp.log(total)", "largest"),
    _planted(ATT, "v", "dv of the last queries alone", "dv.at[j].add", "dv.at[j].set"),
    _planted(ATT, "q", "dq of the last keys alone", "dq.at[i].add", "dq.at[i].set"),
    _planted(ATT, "v", "dv of dS", '"...qk,...qd->...kd", P, do_[i]', '"...qk,...qd->...kd", dS, do_[i]'),
    # ── swiglu
    _planted(GLU, "x W", "gate's slope missing", "da = dy * b * s * (1 + a * (1 - s))", "da = dy * b"),
    _planted(GLU, "x W", "sigmoid's slope for silu's", "da = dy * b * s * (1 + a * (1 - s))", "da = dy * b * s * (1 - s)"),
    _planted(GLU, "x W", "sigmoid for silu's slope", "da = dy * b * s * (1 + a * (1 - s))", "da = dy * b * s"),
    _planted(GLU, "x W", "silu' of the output", "(1 + a * (1 - s))", "(1 + a * s * (1 - s))"),
    _planted(GLU, "x V", "sigmoid for silu", "db = dy * a * s", "db = dy * s"),
    _planted(GLU, "x W", "the other factor missing", "da = dy * b *", "da = dy *"),
    _planted(GLU, "x", "dx of the gate alone", "dx = da @ W_ + db @ V_", "dx = da @ W_"),
    _planted(GLU, "x", "W and V exchanged in dx", "dx = da @ W_ + db @ V_", "dx = da @ V_ + db @ W_"),
    _planted(GLU, "W V", "dW and dV exchanged", "return dx.astype(x.dtype), dW", "dW, dV = dV, dW\n    return dx.astype(x.dtype), dW"),
)  # fmt: skip


def _in_every_layer(layer: str) -> tuple[Mistake, ...]:
    wrong = tuple(ARGUMENTS[layer].split())
    return (
        Mistake("cotangent ignored", layer, wrong, cotangent=jnp.ones_like),
        Mistake("multiplied by g[0]", layer, wrong, cotangent=lambda g: g * g.ravel()[0]),
        Mistake("cotangent's last row lost", layer, wrong, cotangent=lambda g: g.at[-1].set(0)),
    )


MISTAKES = (*IN_ONE_LAYER, *(mistake for layer in LAYERS for mistake in _in_every_layer(layer)))
