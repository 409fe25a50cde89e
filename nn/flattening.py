"""Which features come in another order in PyTorch, because an image was flattened into them.

`Flatten` reads an image (H, W, C) row-major: here the channels run fastest, in PyTorch, which
has (C, H, W), the columns. The same features stand in another order, and a layer that reads
them has the rows of its weight in another order. For an image of 1×2 places and 2 channels:

    here      place 0: channels 0 1    place 1: channels 0 1      features 0 1 2 3
    PyTorch   channel 0: places 0 1    channel 1: places 0 1      features 0 2 1 3

so PyTorch's feature j is our feature order[j], with order = [0, 2, 1, 3].

Which layer reads a flattened image is found by watching: zeros of `input_shape` run through the
network, and arrays are followed by their place in memory, which `reshape` does not change.
Activations and dropout hand the order on; dense layers, convolutions, norms and recurrent layers
read it. The
same happens the other way round where what a dense layer gives is folded into an image.
"""

from dataclasses import dataclass, replace

import numpy as np

from nn.attention import Attention
from nn.convolution import _Conv
from nn.embedding import Embedding
from nn.linear import Flatten, Linear
from nn.module import inference
from nn.normalization import BatchNorm, LayerNorm
from nn.pooling import _Pool
from nn.recurrent_cells import Cell
from nn.recurrent_stack import _Recurrent
from nn.transposed_convolution import _ConvTranspose
from nn.upsampling import _Upsample
from nn.watching import trace_shape

NORM = {"weight": 0, "bias": 0, "running_mean": 0, "running_var": 0}
# {kind of layer: {name of an array: the axis that runs over the features it reads, or gives}}
READ = {
    Linear: {"weight": 0},
    _Conv: {"weight": -2},
    _ConvTranspose: {"weight": -1},
    BatchNorm: NORM,
    LayerNorm: NORM,
    Cell: {"U": -2},
}
GIVEN = {Linear: {"weight": 1, "bias": 0}, BatchNorm: NORM, LayerNorm: NORM}


def feature_orders(module, input_shape):
    """{(layer, name of an array, axis): order} for every axis that runs over flattened images.

    PyTorch's entry j on that axis is our entry order[j]. Raises ValueError if there is a
    Flatten and no `input_shape`, or if no order in PyTorch would give the same network.
    """
    if input_shape is None:
        if not any(isinstance(layer, Flatten) for _, layer in module.named_modules()):
            return {}
        raise ValueError(
            "interop: this network has a Flatten, whose order differs in PyTorch; give "
            "input_shape, the shape of one input, channels last, without N"
        )
    with inference():
        calls = trace_shape(module, input_shape)
    follower = _Follower(module, calls[-1].inputs[0])  # the last to finish is the whole network
    for call in calls:
        if call.inputs and isinstance(call.output, np.ndarray):
            follower.step(call.module, call.inputs[0], call.output)
    if isinstance(call.output, np.ndarray):
        follower.finish(call.output)
    orders = follower.orders.items()
    return {key: order for key, order in orders if not _is_straight(order)}


@dataclass(frozen=True)
class _Origin:
    """What a place in memory was written as: an array of this shape.

    - order: PyTorch's feature j of its last axis is our feature order[j];
    - image: has PyTorch that axis in front, as the channels of an image?
    - givers: the layers that gave these features and have an entry for each of them.
    """

    shape: tuple
    order: np.ndarray
    image: bool
    givers: tuple = ()

    def order_of(self, x):
        """The order of the last axis of x, which is this memory, perhaps reshaped."""
        if x.shape[-1] == self.shape[-1]:
            return self.order
        flattened = _trailing(self.shape, x.shape[-1])
        if not flattened:
            return np.arange(x.shape[-1])  # something else, or folded into an image
        if len(flattened) == len(self.shape):  # frames that were folded into the batch come first
            T, *image = flattened
            order = _flattened_order(image, self.order, self.image)
            return _flattened_order((T, len(order)), order, image=False)
        return _flattened_order(flattened, self.order, self.image)


class _Follower:
    """Follows arrays through the calls of one forward pass and collects `orders`."""

    def __init__(self, model, x):
        self.names = {layer: name for name, layer in model.named_modules()}
        self.orders = {}
        self.origins = {_place(x): _Origin(x.shape, np.arange(x.shape[-1]), image=True)}
        self.flattened = {}  # {number of features: order} of the latest flattened image
        self.unread = {}  # {place: number of features} of flattened images nobody has read yet
        self.suspects = []  # layers that read something computed from who knows what meanwhile

    def step(self, layer, x, y):
        """One call y = layer(x), after those of the modules inside it."""
        origin = self.origins.get(_place(x)) or self._guess(layer, x)
        order = origin.order_of(x)
        # Attention gives (N, heads, T, d): no image, heads stand side by side in PyTorch too.
        image = origin.image and not isinstance(layer, Attention)
        straight = _Origin(y.shape, np.arange(y.shape[-1]), image=image)
        if any(layer.named_children()) and not isinstance(layer, _Recurrent):
            if _place(y) not in self.origins and not self.unread:
                if not _is_straight(order) and x.shape[-1] == y.shape[-1]:
                    self._fail(layer, "uses a flattened image beside a layer that reads it")
                self.origins[_place(y)] = straight
            return

        waiting = self.unread.pop(_place(x), None)
        if isinstance(layer, Linear):
            self._note(layer, READ, order)
            self._give(x, origin)
            new = _Origin(y.shape, straight.order, image=False, givers=(layer,))
        elif isinstance(layer, _Conv | _ConvTranspose):
            if layer.groups > 1 and not _is_straight(order):
                self._fail(layer, "would have other features in each of its groups there")
            self._note(layer, READ, order)
            self._give(x, origin)
            new = _Origin(y.shape, straight.order, image=True)
        elif isinstance(layer, _Recurrent):
            for cell in layer.cells[: layer.directions]:  # those that read x
                self._note(cell, READ, order)
            self._give(x, origin)
            new = _Origin(y.shape, straight.order, image=y.ndim > 3)
        elif isinstance(layer, _Pool | _Upsample):
            self._give(x, origin)
            new = _Origin(y.shape, order, image=True)
        elif isinstance(layer, BatchNorm | LayerNorm):
            if not _is_straight(order):
                self._note(layer, READ, order)
            more = (layer,) if x.shape[-1] == origin.shape[-1] else ()
            new = replace(origin, givers=origin.givers + more)  # the same features, in place
        elif any(layer.named_parameters()):
            if not _is_straight(order):
                self._fail(layer, "reads a flattened image in a way interop does not know")
            image = origin.image and not isinstance(layer, Embedding)
            new = _Origin(y.shape, straight.order, image)
        else:  # an activation, dropout, Flatten itself: the same features; or means of them
            same = x.size == y.size
            new = origin if same else _Origin(y.shape, order, image=False)
            if isinstance(layer, Flatten) and not _is_straight(origin.order_of(y)):
                self.flattened[y.shape[-1]] = origin.order_of(y)
                waiting = y.shape[-1]
            if waiting:
                self.unread[_place(y)] = waiting
        self.origins[_place(y)] = new

    def finish(self, y):
        """After all calls, of which the last gave y."""
        self.unread.pop(_place(y), None)
        if self.unread and self.suspects:
            self._fail(self.suspects[0], "reads what was computed from a flattened image")
        if _place(y) in self.origins and y.ndim > 3:  # features became the image that comes out
            self._give(y, self.origins[_place(y)])

    def _guess(self, layer, x):
        """The origin of an array that a network computed between its modules.

        As many features as a flattened image has are that image, perhaps averaged or scaled.
        """
        D = x.shape[-1]
        if self.unread and not any(layer.named_children()):
            if D in self.unread.values():
                self.unread = {place: size for place, size in self.unread.items() if size != D}
                return _Origin(x.shape, self.flattened[D], image=False)
            if any(layer.named_parameters()):
                self.suspects.append(layer)
        return _Origin(x.shape, np.arange(D), image=True)

    def _give(self, x, origin):
        """The features of x are used: whoever gave them has to give them in that order."""
        folded = _trailing(x.shape, origin.shape[-1])
        if x.shape[-1] == origin.shape[-1]:
            order = origin.order
        elif folded:  # into an image, which PyTorch has in another order
            order = _flattened_order(folded, np.arange(folded[-1]), image=True)
        else:
            return
        for giver in origin.givers:
            self._note(giver, GIVEN, order)

    def _note(self, layer, axes, order):
        """`order` holds on the axes that `axes` (READ or GIVEN) names for this kind of layer."""
        names = next(names for kind, names in axes.items() if isinstance(layer, kind))
        for name, axis in names.items():
            known = self.orders.setdefault((layer, name, axis), order)
            if not np.array_equal(known, order):
                self._fail(layer, "meets its features in two orders, which PyTorch's would not")

    def _fail(self, layer, why):
        raise ValueError(
            f"interop: {self.names[layer] or 'this module'}: {layer.describe()} {why}; bring the "
            "modules inside over one by one"
        )


def _flattened_order(shape, order, image):
    """For (*S, C) flattened: PyTorch's feature j is our feature [j]."""
    ours = np.arange(np.prod(shape)).reshape(shape)[..., order]
    return (np.moveaxis(ours, -1, 0) if image else ours).ravel()


def _trailing(shape, product):
    """The last axes of `shape`, two or more, that hold `product` numbers; None if none do."""
    for first in range(len(shape) - 2, -1, -1):
        if np.prod(shape[first:]) == product:
            return shape[first:]
    return None


def _is_straight(order):
    return np.array_equal(order, np.arange(len(order)))


def _place(array):
    """Where in memory it begins. The calls keep their arrays alive, so no place is used twice."""
    return array.__array_interface__["data"][0]
