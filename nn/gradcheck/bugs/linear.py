"""Wrong backwards of `Linear`, `Flatten`, `Sequential` and `Residual`. Right: `nn/linear.py`,
`nn/containers.py`."""

from nn.gradcheck.bugs import bug
from nn.module import Module


class LinearParts(Module):
    """The right backward of `Linear` in three parts, so that a bug can replace one."""

    def backward(self, dy, need_input_grad=True):
        (x,) = self.take()
        x_rows, dy_rows = x.reshape(-1, self.in_features), dy.reshape(-1, self.out_features)
        if self.weight.trainable:
            self.weight.add_grad(self.weight_gradient(x_rows, dy_rows))
        if self.bias is not None and self.bias.trainable:
            self.bias.add_grad(self.bias_gradient(dy))
        if need_input_grad:
            return self.input_gradient(dy_rows).reshape(x.shape)

    def weight_gradient(self, x_rows, dy_rows):
        return x_rows.T @ dy_rows  # (D_in, D_out)

    def bias_gradient(self, dy):
        return dy.reshape(-1, self.out_features).sum(axis=0)  # (D_out,)

    def input_gradient(self, dy_rows):
        return dy_rows @ self.weight.data.T  # (rows, D_in)


@bug("Linear")
class ReshapedNotTransposed(LinearParts):
    """dx: W is reshaped to the shape of its transpose. The shapes fit, the numbers do not."""

    def input_gradient(self, dy_rows):
        return dy_rows @ self.weight.data.reshape(self.out_features, self.in_features)


@bug("Linear")
class WeightGradientTransposed(LinearParts):
    """dW is computed as (D_out, D_in) and then forced into shape."""

    def weight_gradient(self, x_rows, dy_rows):
        return (dy_rows.T @ x_rows).reshape(self.in_features, self.out_features)


@bug("Linear")
class MeanTakenTwice(LinearParts):
    """dW is divided by the number of rows, although the loss has already taken the mean."""

    def weight_gradient(self, x_rows, dy_rows):
        return x_rows.T @ dy_rows / len(x_rows)


@bug("Linear", only_with="axes between N and C")
class BiasOfLastStep(LinearParts):
    """db sums over the clips but takes only the last time step."""

    def bias_gradient(self, dy):
        while dy.ndim > 2:
            dy = dy[:, -1]
        return dy.sum(axis=0)


@bug("Linear", only_with="a bias")
class BiasSign(LinearParts):
    """db has the wrong sign."""

    def bias_gradient(self, dy):
        return -super().bias_gradient(dy)


@bug("Linear")
class GradientReplaced(LinearParts):
    """dW replaces the gradient instead of adding to it: wrong at the second backward."""

    def backward(self, dy, need_input_grad=True):
        self.weight.zero_grad()
        return super().backward(dy, need_input_grad)


@bug("Linear")
class KeptInAttribute(LinearParts):
    """The input is kept in an attribute: the second forward overwrites what the first needs."""

    def forward(self, x):
        y = super().forward(x)
        self.x = x
        return y

    def backward(self, dy, need_input_grad=True):
        self.take()
        self.save(self.x)
        return super().backward(dy, need_input_grad)


@bug("Linear")
class FrozenAnyway(LinearParts):
    """dW is written to `grad` directly, and `trainable` is not asked: frozen weights get one."""

    def backward(self, dy, need_input_grad=True):
        (x,) = self.take()
        self.save(x)
        if not self.weight.trainable:
            x_rows, dy_rows = x.reshape(-1, self.in_features), dy.reshape(-1, self.out_features)
            self.weight.grad += self.weight_gradient(x_rows, dy_rows)
        return super().backward(dy, need_input_grad)


@bug("Flatten")
class FoldedInFortranOrder(Module):
    """dx is folded with the first axis running fastest; forward laid it out the other way."""

    def backward(self, dy, need_input_grad=True):
        (shape,) = self.take()
        return dy.reshape(shape, order="F")


@bug("Sequential")
class SameOrderBackward(Module):
    """The gradient passes through the modules in the order of forward."""

    def backward(self, dy, need_input_grad=True):
        for module in self.modules:
            dy = module.backward(dy)
        return dy


@bug("Sequential")
class LastModuleSkipped(Module):
    """The loop starts one module too early, a slice that is off by one."""

    def backward(self, dy, need_input_grad=True):
        for module in self.modules[-2::-1]:
            dy = module.backward(dy)
        return dy


@bug("Residual")
class StraightWayForgotten(Module):
    """Only what comes back through the body is returned."""

    def backward(self, dy, need_input_grad=True):
        if self.shortcut is not None:
            self.shortcut.backward(dy)
        return self.body.backward(dy)


@bug("Residual")
class SharedBetweenWays(Module):
    """dy is divided between the two ways, half for each; a sum hands all of it to both."""

    def backward(self, dy, need_input_grad=True):
        return super().backward(dy / 2, need_input_grad)
