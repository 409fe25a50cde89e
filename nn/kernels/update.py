"""The optimisers' steps, each in one pass over all numbers of a parameter.

A step reads the gradient and changes the weights and what is remembered of each. In NumPy that is
a dozen passes, one for each operation; here every number is read once, done with, and written
once. There is nothing to share between the numbers, so any cut into tasks gives the same bits.

The rules are those of `reference`. Settings come as an array in the type of the weights, since a
float64 among float32 numbers would make all arithmetic float64.
"""



from nn.kernels.jit import kernel

BLOCK = 1 << 13  # numbers one task works through
SMALL = 1 << 15  # numbers: below that, starting the threads takes longer than the work

SGD, RMSPROP, ADAM = range(3)


# ---- one block, compiled ----------------------------------------------------------------


@kernel
def _sgd(theta, grad, velocity, settings):
    lr, momentum, weight_decay, ahead = settings[0], settings[1], settings[2], settings[3] != 0
    if momentum == 0:
        for i in range(len(theta)):
            theta[i] -= lr * (grad[i] + weight_decay * theta[i])
        return
    for i in range(len(theta)):
        g = grad[i] + weight_decay * theta[i]
        v = momentum * velocity[i] + g
        velocity[i] = v
        theta[i] -= lr * (g + momentum * v if ahead else v)


@kernel
def _rmsprop(theta, grad, square, mean, velocity, settings):
    lr, alpha, rest, eps, weight_decay, momentum = settings[:6]
    has_mean, has_velocity = len(mean) > 0, len(velocity) > 0
