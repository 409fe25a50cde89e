"""Modules made of modules: in a row, and around a shortcut."""

from nn.module import Module, backward_to_parameters

PLACE = "in Sequential, module "


class Sequential(Module):
    """Modules in a row: y = f_L(… f_2(f_1(x))).

    Backward is the chain rule: the gradient passes through the same modules from the last to
    the first, dy → f_L.backward → … → f_1.backward → dx.

    A ValueError of a module inside says which one it comes from: "in Sequential, module 2: …".
    """

    def __init__(self, *modules):
        _check_modules("Sequential", modules)
        self.modules = list(modules)

    def forward(self, x):
        try:
            for i in range(len(self.modules)):
                x = self.modules[i](x)
        except ValueError as error:
            self._say_where(i, error)
            raise
        return x

    def backward(self, dy, need_input_grad=True):
        try:
            for i in reversed(range(len(self.modules))):
                if i == 0 and not need_input_grad:
                    return backward_to_parameters(self.modules[0], dy)
                dy = self.modules[i].backward(dy)
        except ValueError as error:
            self._say_where(i, error)
            raise
        return dy

    def _say_where(self, i, error):
        """Put the number of the module before the error's text: 2, or 2.0 in a row inside."""
        text = str(error)
        if isinstance(self.modules[i], Sequential) and text.startswith(PLACE):
            error.args = (f"{PLACE}{i}.{text.removeprefix(PLACE)}",)
        else:
            error.args = (f"{PLACE}{i}: {text}",)

    def named_children(self):
        """As for any module, but those in the row are called "0", not "modules.0"."""
        for name, module in super().named_children():
            yield name.removeprefix("modules."), module

    def describe(self):
        return type(self).__name__

    def __len__(self):
        return len(self.modules)

    def __iter__(self):
        return iter(self.modules)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Sequential(*self.modules[index])
        return self.modules[index]


class Residual(Module):
    """A detour that adds to what went straight on: y = body(x) + shortcut(x).

    Residual(body) and Residual(first, second, ...) take what is learned beside x itself (He et
    al. 2016, arXiv:1512.03385); `shortcut` is the identity unless a module is given, such as a
    1×1 convolution where the body changes the shape.

    x reaches y on two ways, so its gradient is the sum of what comes back on both:

        dx = body.backward(dy) + shortcut.backward(dy)        or + dy, for the identity

    The straight way hands dy on undiminished, however deep the stack: that is its point.

    Raises ValueError in forward if the two ways end in different shapes.
    """

    def __init__(self, *body, shortcut=None):
        _check_modules("Residual", body if shortcut is None else (*body, shortcut))
        self.body = body[0] if len(body) == 1 else Sequential(*body)
        self.shortcut = shortcut

    def forward(self, x):
        detour = self.body(x)
        straight = x if self.shortcut is None else self.shortcut(x)
        if detour.shape != straight.shape:
            raise ValueError(
                f"Residual: the body makes {detour.shape} of {x.shape}, the shortcut "
                f"{straight.shape}: they cannot be added; give a shortcut that fits"
            )
        return detour + straight

    def backward(self, dy, need_input_grad=True):
        # Modules take back in the opposite order of forward: the shortcut came last.
        if not need_input_grad:
            for way in (self.shortcut, self.body):
                if way is not None:
                    backward_to_parameters(way, dy)
            return None
        straight = dy if self.shortcut is None else self.shortcut.backward(dy)
        return self.body.backward(dy) + straight

    def describe(self):
        return "Residual"


def _check_modules(name, items):
    for i, item in enumerate(items):
        if not isinstance(item, Module):
            raise TypeError(f"{name}: item {i} is a {type(item).__name__}, not a Module")
