# %% [markdown]
# # The tour
#
# One network, from a single number up to handwritten digits. You have seen the six steps of
# backpropagation in a course: forward, output error, inner errors, ∂C/∂W, ∂C/∂b, update. Here you
# compute each of them once by hand. Then you let the library check you, make a mistake on purpose,
# and train on real data. It takes half an hour.
#
# To run it yourself: `pip install 'manual_bp[all]' notebook`, then `jupyter notebook
# docs/tour.ipynb`.

# %%
import csv
import tempfile
from math import exp
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris

import manual_bp as mbp
from manual_bp.files.data import load
from manual_bp.files.split import split, standardized

# %% [markdown]
# ## 1. One example by hand
#
# *Exclusive or* is the smallest problem that needs a hidden layer: two inputs, and the answer is 1
# if exactly one of them is 1. The network has two inputs, three hidden neurons and one output.
# Layers are counted from 1, and layer 0 is the input. `W1[j][k]` is the weight from input k to
# hidden neuron j.
#
# We take one example, x = (1, 0), whose target is y = 1.

# %%
W1 = [[0.5, -0.4], [0.3, 0.8], [-0.6, 0.2]]
b1 = [0.1, -0.2, 0.3]
W2 = [0.7, -0.5, 0.4]
b2 = -0.1

x, y = [1, 0], 1


def sigmoid(z):
    return 1 / (1 + exp(-z))


def sigmoid_prime(z):
    return sigmoid(z) * (1 - sigmoid(z))


def show(name, numbers):
    print(f"{name:6}", *(f"{number:z9.5f}" for number in numbers))


# %% [markdown]
# **Step 1, forward.** Each neuron adds up its weighted inputs and its bias: that is z. Its
# activation a is σ(z), a number between 0 and 1.

# %%
z1 = [W1[j][0] * x[0] + W1[j][1] * x[1] + b1[j] for j in range(3)]
a1 = [sigmoid(z) for z in z1]
z2 = W2[0] * a1[0] + W2[1] * a1[1] + W2[2] * a1[2] + b2
a2 = sigmoid(z2)
cost = (a2 - y) ** 2 / 2

show("z¹", z1)
show("a¹", a1)
show("z²", [z2])
show("a²", [a2])
show("C", [cost])

# %% [markdown]
# The first hidden neuron has z = 0.5 · 1 − 0.4 · 0 + 0.1 = 0.6. The output is about 0.6, and it
# should be 1. The cost C = ½ (a² − y)² says how bad that is.
#
# **Step 2, the output error.** The error of a neuron, δ, is ∂C/∂z: how fast the cost grows if this
# neuron's z grows. At the output it is a product of two things: how the cost changes with a, which
# is a − y, and how a changes with z, which is σ′(z).

# %%
delta2 = (a2 - y) * sigmoid_prime(z2)
show("δ²", [delta2])

# %% [markdown]
# It is negative: a larger z² would make the cost smaller.
#
# **Step 3, the inner errors.** A hidden neuron changes the cost through the output alone. So its
# error is the output's error, times the weight between them, times its own σ′(z).

# %%
delta1 = [W2[j] * delta2 * sigmoid_prime(z1[j]) for j in range(3)]
show("δ¹", delta1)

# %% [markdown]
# **Step 4, ∂C/∂W.** A weight is multiplied by the activation before it. So its gradient is the
# error of the neuron behind it, times the activation of the neuron before it.

# %%
dW2 = [delta2 * a1[k] for k in range(3)]
dW1 = [[delta1[j] * x[k] for k in range(2)] for j in range(3)]
show("∂C/∂W²", dW2)
for row in dW1:
    show("∂C/∂W¹", row)

# %% [markdown]
# The second column is zero, because the second input is 0: those weights had no part in it.
#
# **Step 5, ∂C/∂b.** A bias is added as it is. So its gradient is the error itself.

# %%
db2, db1 = delta2, delta1
show("∂C/∂b²", [db2])
show("∂C/∂b¹", db1)

# %% [markdown]
# **Step 6, update.** Every weight and bias goes a little way against its gradient. How far is the
# learning rate η. Was it right? The cost of the same example tells.

# %%
eta = 0.5
new_W1 = [[W1[j][k] - eta * dW1[j][k] for k in range(2)] for j in range(3)]
new_b1 = [b1[j] - eta * db1[j] for j in range(3)]
new_W2 = [W2[j] - eta * dW2[j] for j in range(3)]
new_b2 = b2 - eta * db2

a1_after = [sigmoid(new_W1[j][0] * x[0] + new_W1[j][1] * x[1] + new_b1[j]) for j in range(3)]
a2_after = sigmoid(sum(new_W2[j] * a1_after[j] for j in range(3)) + new_b2)
show("before", [cost])
show("after", [(a2_after - y) ** 2 / 2])

# %% [markdown]
# The cost fell. That is all of backpropagation; the rest is doing it for many numbers at once.

# %% [markdown]
# ## 2. The same as matrices
#
# Now all four examples together. Each one is a **row** of x, so x is (4, 2) and y is (4, 1). W¹ is
# a matrix of shape (3, 2): out by in. The six steps become these lines. `@` is the matrix product,
# and `*` the product of each element with its partner (⊙, Hadamard's).
#
# C is the mean over the examples. Its 1/4 enters once, in δ², and from there it is in all that
# follows.

# %%
x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
y = np.array([[0.0], [1.0], [1.0], [0.0]])
params = (
    mbp.Layer(np.array([[0.5, -0.4], [0.3, 0.8], [-0.6, 0.2]]), np.array([0.1, -0.2, 0.3])),
    mbp.Layer(np.array([[0.7, -0.5, 0.4]]), np.array([-0.1])),
)


def sigma(z):
    return 1 / (1 + np.exp(-z))


def sigma_prime(z):
    return sigma(z) * (1 - sigma(z))


def by_hand(net, params, x, y):
    (W1, b1), (W2, b2) = params
    z1 = x @ W1.T + b1  # 1, forward
    a1 = sigma(z1)
    z2 = a1 @ W2.T + b2
    a2 = sigma(z2)
    delta2 = (a2 - y) * sigma_prime(z2) / len(x)  # 2, BP1
    delta1 = delta2 @ W2 * sigma_prime(z1)  # 3, BP2
    dW2, dW1 = delta2.T @ a1, delta1.T @ x  # 4, BP4
    db2, db1 = delta2.sum(axis=0), delta1.sum(axis=0)  # 5, BP3
    record = {"z1": z1, "a1": a1, "z2": z2, "a2": a2, "delta2": delta2, "delta1": delta1}
    return record | {"dW2": dW2, "dW1": dW1, "db2": db2, "db1": db1}


mine = by_hand(None, params, x, y)
print("δ¹ of the four examples, times 4:")
print(np.round(4 * mine["delta1"], 5))

# %% [markdown]
# The third row is x = (1, 0): the three numbers that you computed one by one above.
#
# The library has the same six steps. A `Network` says what is computed, and `backprop` gives the
# record of a backward pass: every z, a, δ, ∂C/∂W and ∂C/∂b by its name.

# %%
net = mbp.Network((2, 3, 1), ("sigmoid", "sigmoid"), "quadratic")
step = mbp.backprop(net, params, x, y)
step

# %%
print("the same δ¹:", np.allclose(step.delta[0], mine["delta1"]))
print(f"the cost of the four: {step.cost:.5f}")
ax = mbp.plot.network(net, params, step)
ax.figure.set_size_inches(6, 3.2)

# %% [markdown]
# A line is a weight, as wide as it is large, dashed where it is negative. A disc is a neuron, dark
# where its activation is large. The ring around it is its error δ.

# %% [markdown]
# ## 3. Compared with automatic differentiation
#
# JAX can differentiate the cost by itself, without any of our equations. `compare` holds a backward
# pass against that, equation by equation. Here it judges the function that we wrote.

# %% tags=["nbval-ignore-output"]
agreement = mbp.compare(net, params, x, y, subject=by_hand)
agreement

# %%
for row in agreement.rows:
    print(f"{row.equation:8} {row.quantity:5} of layer {row.layer}: {row.verdict}")

# %% [markdown]
# Each row is one quantity of one layer. *agrees* means that the difference is no larger than
# rounding can make it. What we did not return, a⁰ = x and C, is *untested*. The column *of bound*
# is the difference as a part of what rounding allows. So what does it allow?

# %% [markdown]
# ## 4. Rounding in plain words
#
# A computer keeps a number to a fixed count of digits, and rounds what comes after. In float32 it
# is about seven decimal digits. Each addition rounds again, so a sum depends on the order in which
# it is added up.

# %%
print(0.1 + 0.2)
big, small = np.float32(1e8), np.float32(1)
print((big + small) - big, (big - big) + small)

# %% [markdown]
# So two right programs may differ. How far? Each rounding is off by at most u of the value, where u
# = 2⁻²⁴ ≈ 6 · 10⁻⁸ in float32. A sum of n terms takes n − 1 additions. So in whatever order they
# are added, the result is off by at most about n · u times the sum of the terms' sizes. That is a
# **bound**: it follows from the data, and nobody has to pick a tolerance.
#
# Here a sum of 200 products, as in a row of W times a, is added up in 2,000 different orders.

# %%
rng = np.random.default_rng(0)
terms = rng.normal(size=200).astype(np.float32)
exact = terms.astype(np.float64).sum()
orders = np.stack([rng.permutation(terms) for _ in range(2000)])
off = np.abs(orders.cumsum(axis=1, dtype=np.float32)[:, -1] - exact)
u = 2.0**-24
bound = len(terms) * u * np.abs(terms).sum(dtype=np.float64)
mistake = np.abs(terms[0])  # one term left out

print(f"the worst of them is off by less than a tenth of the bound: {off.max() < bound / 10}")
print(f"one term left out is off by {mistake / bound:.0f} times the bound")

# %%
figure, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
ax.hist(np.maximum(off, 1e-8), bins=np.logspace(-8, 0, 81), color="#0072B2")
ax.axvline(bound, color="black", ls="--")
ax.axvline(mistake, color="#D55E00")
top = ax.get_ylim()[1]
ax.text(bound * 1.3, 0.85 * top, "what rounding\nallows", va="top")
ax.text(mistake / 1.3, 0.4 * top, "one term\nleft out", va="top", ha="right", color="#D55E00")
ax.set(xscale="log", xlabel="how far the sum is off", ylabel="of 2,000 orders")
plt.show()

# %% [markdown]
# Every order lands to the left of the dashed line, and the bar at 10⁻⁸ is of those that are right
# to the last digit. The mistake is far to the right of the line. Between what is right and what is
# wrong there is a wide gap, and the bound stands in it. *0.04 of what rounding allows* is to the
# left of the line. Above 1 rounding cannot explain it.

# %% [markdown]
# ## 5. A mistake, made and found
#
# Let us make a mistake that many people make. a¹ is at hand, so σ′ is computed of a¹ in place of
# z¹. The shapes are right, nothing stops the program, and the network even learns a little.


# %% tags=["nbval-ignore-output"]
def wrong(net, params, x, y):
    record = by_hand(net, params, x, y)
    W2 = params[1].W
    delta1 = record["delta2"] @ W2 * sigma_prime(record["a1"])  # should be z1
    return record | {"delta1": delta1, "dW1": delta1.T @ x, "db1": delta1.sum(axis=0)}


diagnosis = mbp.check(net, params, x, y, wrong)
print(diagnosis)

# %% [markdown]
# The same as data, for a program:

# %%
print([(finding.equation, finding.layer, finding.mistake) for finding in diagnosis.findings])

# %% [markdown]
# It names the equation (BP2), the layer, the mistake, and the fix. ∂C/∂W¹ and ∂C/∂b¹ are wrong
# numbers as well, but they follow rightly from the wrong δ¹. So they are not accused: one mistake
# is told once, where it is made.
#
# You need not show everything. These are the gradients alone, as a framework would give them:

# %%
record = wrong(net, params, x, y)
gradients = {name: record[name] for name in ("dW1", "db1", "dW2", "db2")}
print(mbp.check(net, params, x, y, gradients))

# %% [markdown]
# And the right function:

# %%
print("right:", mbp.check(net, params, x, y, by_hand).ok)

# %% [markdown]
# [Check your own backward pass](checking.md) has all that it takes and all that it knows.

# %% [markdown]
# ## 6. Exclusive or, learnt
#
# `fit` makes the six steps again and again. It starts from the weights above.

# %%
trained, history = mbp.fit(
    net, params, x, y, epochs=1000, batch_size=4, key=jax.random.key(0), learning_rate=5.0
)
print(np.round(mbp.predict(net, trained, x), 2).ravel())

figure, ax = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
history.plot(ax[0])
mbp.plot.boundary(net, trained, x, y, ax[1])
plt.show()

# %% [markdown]
# For some 400 epochs the cost hardly falls: the network answers about ½ to everything, and the
# slope is nearly flat there. Then it finds the way down. On the right is what it decides for other
# inputs than the four.

# %% [markdown]
# ## 7. Iris, from a CSV file
#
# 150 flowers, four lengths of each, and three species. Data often comes as a CSV file whose first
# line names the columns, so we write one.

# %%
iris = load_iris()
path = Path(tempfile.mkdtemp()) / "iris.csv"
with path.open("w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    writer.writerow(["sepal length", "sepal width", "petal length", "petal width", "species"])
    for lengths, k in zip(iris.data, iris.target, strict=True):
        writer.writerow([*lengths, iris.target_names[k]])

print(*path.read_text(encoding="utf-8").splitlines()[:3], sep="\n")

# %% [markdown]
# `load` reads it: the last column is the target, and text stands for classes. `split` holds a fifth
# of the flowers out, which the network does not see while it learns. `standardized` gives each
# column mean 0 and standard deviation 1, so that no column is large only because of its unit.

# %%
data = standardized(split(load(path, "float64")), "float32")
print(data.x.shape, data.x_test.shape, data.encoding.classes)

net = mbp.Network((4, 16, 3), ("tanh", "softmax"), "cross_entropy")
params, history = mbp.fit(
    net,
    net.init(jax.random.key(0)),
    data.x,
    data.y,
    validation=(data.x_test, data.y_test),
    epochs=100,
    batch_size=16,
    key=jax.random.key(1),
    learning_rate=0.1,
)
print(f"of the flowers held out, right: {history.validation_accuracy[-1]:.0%}")

# %% [markdown]
# Softmax makes the three outputs add up to 1, so each is how likely that species is. With it, and
# the cost cross-entropy, BP1 becomes as short as it can be: δᴸ = (aᴸ − y)/m.
#
# A trained network goes into one file, and comes back the same.

# %%
mbp.save(path.with_suffix(".safetensors"), net, params, history, encoding=data.encoding)
net_again, params_again, _ = mbp.load(path.with_suffix(".safetensors"))
same = mbp.predict(net, params, data.x_test) == mbp.predict(net_again, params_again, data.x_test)
print(net_again, same.all())

# %% [markdown]
# The same from a terminal is `manual-bp train --data iris.csv --save iris.safetensors`. [From a CSV
# file to a prediction](training.md) goes on from here.

# %% [markdown]
# ## 8. Handwritten digits
#
# 1,797 images of 8 × 8 pixels, ten classes. Nothing is new but the sizes.

# %%
data = split(load("digits"))
net = mbp.Network((64, 32, 10), ("relu", "softmax"), "cross_entropy")
params, history = mbp.fit(
    net,
    net.init(jax.random.key(0)),
    data.x,
    data.y,
    validation=(data.x_test, data.y_test),
    epochs=20,
    batch_size=32,
    key=jax.random.key(1),
    learning_rate=0.2,
)
print(f"of the images held out, right: {history.validation_accuracy[-1]:.0%}")

# %%
classes = mbp.predict(net, params, data.x_test, classes=True)
truth = data.y_test.argmax(axis=1)
order = np.argsort(classes == truth, kind="stable")[:8]  # those that it takes for others first

figure, axes = plt.subplots(1, 8, figsize=(8, 1.5), layout="constrained")
for ax, i in zip(axes, order, strict=True):
    ax.imshow(data.x_test[i].reshape(8, 8), cmap="Greys")
    ax.set_title(f"{classes[i]}, is {truth[i]}", fontsize=9)
    ax.axis("off")
plt.show()

# %% [markdown]
# These are the ones that it takes for another digit. Is one of the 2,410 gradients wrong, then? No:
# in a trained network as well, each of them is what automatic differentiation gives. With
# `fit(…, verify_every=50)` every fiftieth step is held against it while the network is trained.

# %%
agreement = mbp.compare(net, params, data.x_test[:64], data.y_test[:64])
print(f"{agreement.values:,} values compared, {agreement.wrong} outside what rounding allows")

# %% [markdown]
# A right gradient does not make a network right. But a network that errs with right gradients needs
# more data or another shape, and not another look at the equations. That is what the library is
# for.
#
# ## Where to go from here
#
# - [Check your own backward pass](checking.md), in NumPy, C or a kernel.
# - [Pictures](pictures.md): one call each, for notebooks and papers.
# - [Bridges](bridges.md) to PyTorch, Flax, Equinox and Keras.
# - [Golden vectors](golden.md), for a program in any other language.
