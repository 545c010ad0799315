/* Backpropagation in plain C, a loop for each sum of the equations.
 *
 *     backprop golden.bin mine.bin
 *
 * reads a network, its inputs and its parameters from golden.bin, computes every z, a, delta, dW
 * and db, and writes them to mine.bin for scripts/check.py. docs/golden.md has the order of both.
 * Arrays are as in the equations: W[j][k] joins neuron k of layer l-1 to neuron j of layer l, and
 * i counts examples. C is the mean over them. C99 and libm, nothing else.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDENTITY, SIGMOID, TANH, RELU, SOFTMAX = 10 }; /* the codes of golden.bin */
enum { QUADRATIC, CROSS_ENTROPY, BINARY_CROSS_ENTROPY };

struct layer {
    size_t n;                /* neurons */
    int sigma;
    double *W, *b;           /* n x n_prev, n: given */
    double *z, *a, *delta;   /* m x n, an example a row: computed */
    double *dW, *db;         /* as W and b */
};

/* ---- The equations ------------------------------------------------------------------------- */

/* z_j = sum_k W_jk a_k + b_j */
static void weighted_input(size_t m, size_t n, size_t n_prev, double W[n][n_prev], double b[n],
                           double a_prev[m][n_prev], double z[m][n])
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            z[i][j] = b[j];
            for (size_t k = 0; k < n_prev; k++)
                z[i][j] += W[j][k] * a_prev[i][k];
        }
}

/* a_j = sigma(z_j); softmax: a_j = exp(z_j) / sum_k exp(z_k), shifted so as not to overflow */
static void activate(int sigma, size_t m, size_t n, double z[m][n], double a[m][n])
{
    for (size_t i = 0; i < m; i++) {
        double greatest = z[i][0], sum = 0;
        for (size_t j = 0; j < n; j++)
            greatest = fmax(greatest, z[i][j]);
        for (size_t j = 0; j < n; j++) {
            double v = z[i][j];
            a[i][j] = sigma == SIGMOID ? 1 / (1 + exp(-v))
                    : sigma == TANH    ? tanh(v)
                    : sigma == RELU    ? (v > 0 ? v : 0)
                    : sigma == SOFTMAX ? exp(v - greatest)
                                       : v;
            sum += a[i][j];
        }
        for (size_t j = 0; j < n && sigma == SOFTMAX; j++)
            a[i][j] /= sum;
    }
}

/* sigma'(z), in terms of a = sigma(z) */
static double sigma_prime(int sigma, double a)
{
    switch (sigma) {
    case SIGMOID: return a * (1 - a);
    case TANH:    return (1 - a) * (1 + a);
    case RELU:    return a > 0;
    default:      return 1;
    }
}

/* BP1: delta_j = dC/da_j sigma'(z_j) / m. With the cross-entropies sigma' cancels, which leaves
 * a - y; softmax with the quadratic cost is a sum, since each a_k depends on every z_j:
 * delta_j = sum_k (a_k - y_k) a_k ([j = k] - a_j) */
static void output_delta(int cost, int sigma, size_t m, size_t n, double a[m][n], double y[m][n],
                         double delta[m][n])
{
    for (size_t i = 0; i < m; i++) {
        double targets = 0;
        for (size_t j = 0; j < n; j++)
            targets += y[i][j];
        for (size_t j = 0; j < n; j++) {
            double d;
            if (cost == CROSS_ENTROPY)
                d = a[i][j] * targets - y[i][j]; /* a - y where the targets add up to 1 */
            else if (cost == BINARY_CROSS_ENTROPY)
                d = a[i][j] - y[i][j];
            else if (sigma != SOFTMAX)
                d = (a[i][j] - y[i][j]) * sigma_prime(sigma, a[i][j]);
            else {
                d = 0;
                for (size_t k = 0; k < n; k++)
                    d += (a[i][k] - y[i][k]) * a[i][k] * ((j == k) - a[i][j]);
            }
            delta[i][j] = d / m;
        }
    }
}

/* BP2: delta_k = sum_j W_jk delta_j sigma'(z_k), with W and delta of the layer after */
static void hidden_delta(int sigma, size_t m, size_t n, size_t n_next, double W_next[n_next][n],
                         double delta_next[m][n_next], double a[m][n], double delta[m][n])
{
    for (size_t i = 0; i < m; i++)
        for (size_t k = 0; k < n; k++) {
            double sum = 0;
            for (size_t j = 0; j < n_next; j++)
                sum += W_next[j][k] * delta_next[i][j];
            delta[i][k] = sum * sigma_prime(sigma, a[i][k]);
        }
}

/* BP3: dC/db_j = sum_i delta_j */
static void bias_gradient(size_t m, size_t n, double delta[m][n], double db[n])
{
    for (size_t j = 0; j < n; j++) {
        db[j] = 0;
        for (size_t i = 0; i < m; i++)
            db[j] += delta[i][j];
    }
}

/* BP4: dC/dW_jk = sum_i delta_j a_k + l2 W_jk */
static void weight_gradient(size_t m, size_t n, size_t n_prev, double delta[m][n],
                            double a_prev[m][n_prev], double l2, double W[n][n_prev],
                            double dW[n][n_prev])
{
    for (size_t j = 0; j < n; j++)
        for (size_t k = 0; k < n_prev; k++) {
            dW[j][k] = l2 * W[j][k];
            for (size_t i = 0; i < m; i++)
                dW[j][k] += delta[i][j] * a_prev[i][k];
        }
}

static double softplus(double z) { return fmax(z, 0) + log1p(exp(-fabs(z))); }

/* C of one example. The cross-entropies take z, which stays exact where a saturates:
 * -log a_j = log sum_k exp(z_k) - z_j, or softplus(-z_j) for a sigmoid */
static double example_cost(int cost, size_t n, double z[n], double a[n], double y[n])
{
    double C = 0, greatest = z[0], sum = 0;
    for (size_t j = 0; j < n; j++)
        greatest = fmax(greatest, z[j]);
    for (size_t j = 0; j < n; j++)
        sum += exp(z[j] - greatest);
    for (size_t j = 0; j < n; j++)
        if (cost == CROSS_ENTROPY)
            C += y[j] * (log(sum) + greatest - z[j]);
        else if (cost == BINARY_CROSS_ENTROPY)
            C += y[j] * softplus(-z[j]) + (1 - y[j]) * softplus(z[j]);
        else
            C += (a[j] - y[j]) * (a[j] - y[j]) / 2;
    return C;
}

/* ---- The pass ------------------------------------------------------------------------------ */

static double backprop(size_t L, struct layer layer[], size_t m, int cost, double l2, double *y)
{
    struct layer *out = &layer[L];

/* A flat array as the matrix that the equations index; n is the width of a row. */
#define ROWS(array, n) ((double (*)[n])(array))

    for (size_t l = 1; l <= L; l++) {
        struct layer *now = &layer[l], *prev = now - 1;
        weighted_input(m, now->n, prev->n, ROWS(now->W, prev->n), now->b, ROWS(prev->a, prev->n),
                       ROWS(now->z, now->n));
        activate(now->sigma, m, now->n, ROWS(now->z, now->n), ROWS(now->a, now->n));
    }
    output_delta(cost, out->sigma, m, out->n, ROWS(out->a, out->n), ROWS(y, out->n),
                 ROWS(out->delta, out->n));
    for (size_t l = L - 1; l >= 1; l--) {
        struct layer *now = &layer[l], *next = now + 1;
        hidden_delta(now->sigma, m, now->n, next->n, ROWS(next->W, now->n),
                     ROWS(next->delta, next->n), ROWS(now->a, now->n), ROWS(now->delta, now->n));
    }
    for (size_t l = 1; l <= L; l++) {
        struct layer *now = &layer[l], *prev = now - 1;
        bias_gradient(m, now->n, ROWS(now->delta, now->n), now->db);
        weight_gradient(m, now->n, prev->n, ROWS(now->delta, now->n), ROWS(prev->a, prev->n), l2,
                        ROWS(now->W, prev->n), ROWS(now->dW, prev->n));
    }

    /* C: the mean over the examples, and l2/2 times the sum of all W_jk squared */
    double C = 0;
    for (size_t i = 0; i < m; i++)
        C += example_cost(cost, out->n, out->z + i * out->n, out->a + i * out->n, y + i * out->n)
             / m;
    for (size_t l = 1; l <= L; l++)
        for (size_t w = 0; w < layer[l].n * layer[l - 1].n; w++)
            C += l2 / 2 * layer[l].W[w] * layer[l].W[w];
    return C;
}

/* ---- The files ----------------------------------------------------------------------------- */

static void die(const char *path, const char *what)
{
    fprintf(stderr, "%s: %s\n", path, what);
    exit(2);
}

/* A run of float64 numbers, taken from the front. */
struct numbers {
    const char *path;
    double *next;
    size_t left;
};

/* The next rows x columns of them; ends the program where there are not so many left. */
static double *take(struct numbers *from, size_t rows, size_t columns)
{
    if (rows > from->left / columns) /* rows * columns may overflow, this does not */
        die(from->path, "too short for the network that it describes");
    double *taken = from->next;
    from->next += rows * columns;
    from->left -= rows * columns;
    return taken;
}

/* The next number, where it is a whole one from least to most. */
static size_t whole(struct numbers *from, size_t least, size_t most)
{
    double value = *take(from, 1, 1);
    if (!(value >= least && value <= most && value == floor(value))) /* nor a NaN */
        die(from->path, "not of this format, or a network that this program does not know");
    return (size_t)value;
}

static struct numbers read_all(const char *path)
{
    enum { MOST = 1 << 25 }; /* bytes: 32 MiB */
    struct numbers all = {path, malloc(MOST), 0};
    FILE *file = fopen(path, "rb");
    if (!file || !all.next)
        die(path, "cannot be read");
    size_t bytes = fread(all.next, 1, MOST, file);
    if (ferror(file) || fgetc(file) != EOF || bytes % sizeof(double))
        die(path, "cannot be read, is larger than 32 MiB, or is cut off within a number");
    all.left = bytes / sizeof(double);
    fclose(file);
    return all;
}

int main(int argc, char *argv[])
{
    if (argc != 3)
        die(argv[0], "usage: backprop golden.bin mine.bin");

    /* What is given: a header, x, y, then W and b of each layer. */
    struct numbers in = read_all(argv[1]);
    double *given = in.next;
    const size_t most = in.left;
    if (whole(&in, 1, 2) == 2) /* the format's version; in another byte order neither 1 nor 2 */
        die(argv[1], "version 2: a parameter of sigma or of the cost, a layer without biases or a "
                     "penalty on biases, which this program does not know");
    size_t L = whole(&in, 1, most), m = whole(&in, 1, most);
    size_t cost = whole(&in, 0, most);
    if (cost > BINARY_CROSS_ENTROPY)
        die(argv[1], "a cost that this program does not know");
    double l2 = *take(&in, 1, 1);
    struct layer *layer = calloc(L + 1, sizeof *layer);
    if (!layer)
        die(argv[1], "out of memory");
    for (size_t l = 0; l <= L; l++)
        layer[l].n = whole(&in, 1, most);
    for (size_t l = 1; l <= L; l++) {
        size_t sigma = whole(&in, 0, most);
        if (sigma > RELU && (sigma != SOFTMAX || l < L)) /* softmax is for the output alone */
            die(argv[1], "an activation that this program does not know");
        layer[l].sigma = sigma;
    }
    double *x = take(&in, m, layer[0].n), *y = take(&in, m, layer[L].n);
    for (size_t l = 1; l <= L; l++) {
        layer[l].W = take(&in, layer[l].n, layer[l - 1].n);
        layer[l].b = take(&in, layer[l].n, 1);
    }

    /* What is computed has the order of mine.bin, so that one write will do. The rest of
     * golden.bin is the right results, as many as ours: they only say how much room to make. */
    struct numbers out = {argv[1], calloc(in.left + 1, sizeof(double)), in.left};
    double *mine = out.next;
    if (!mine)
        die(argv[1], "out of memory");
    double *C = take(&out, 1, 1);
    for (size_t l = 1; l <= L; l++)
        layer[l].z = take(&out, m, layer[l].n);
    for (size_t l = 0; l <= L; l++)
        layer[l].a = take(&out, m, layer[l].n);
    for (size_t l = 1; l <= L; l++)
        layer[l].delta = take(&out, m, layer[l].n);
    for (size_t l = 1; l <= L; l++)
        layer[l].dW = take(&out, layer[l].n, layer[l - 1].n);
    for (size_t l = 1; l <= L; l++)
        layer[l].db = take(&out, layer[l].n, 1);
    if (out.left)
        die(argv[1], "longer than the network that it describes");

    memcpy(layer[0].a, x, m * layer[0].n * sizeof(double)); /* a of layer 0 is x */
    *C = backprop(L, layer, m, cost, l2, y);

    FILE *file = fopen(argv[2], "wb");
    if (!file || fwrite(mine, sizeof(double), in.left, file) != in.left || fclose(file) != 0)
        die(argv[2], "cannot be written");
    free(given);
    free(mine);
    free(layer);
    return 0;
}
