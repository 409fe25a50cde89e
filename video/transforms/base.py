"""What all transforms share: one draw, and what follows it."""


class Transform:
    """A change of a clip that its mask and its label follow.

    A transform draws once (`draw`), then acts on the clip, the mask and the label with what was
    drawn (`on_clip`, `on_mask`, `on_label`). Each of the four has a default that changes nothing,
    so a subclass writes only those that are its subject:

        class RandomFade(Transform):
            def draw(self, rng, shape):
                return rng.uniform(0.5, 1.0)

            def on_clip(self, clip, strength):
                return clip * strength
    """

    random = False  # whether `draw` needs a generator
    class_names = frozenset()  # the classes it speaks of, for a data set to check

    def draw(self, rng, shape):
        """What is random, for a clip of this shape (T, H, W, C)."""

    def on_clip(self, clip, drawn):
        """The changed clip (T, H, W, C)."""
        return clip

    def on_mask(self, mask, drawn):
        """The changed mask (T, H, W)."""
        return mask

    def on_label(self, label, drawn):
        """The changed name of the class."""
        return label

    def apply(self, clip, rng=None, mask=None, label=None):
        """`(clip, mask, label)`, each changed, or None where it was None."""
        if self.random and rng is None:
            raise TypeError(f"{self!r} draws at random: give rng=np.random.default_rng(seed)")
        if clip.ndim < 3:
            raise ValueError(f"{self!r}: expected a clip (T, H, W, C), got shape {clip.shape}")
        if mask is not None and mask.shape != clip.shape[:-1]:
            raise ValueError(
                f"{self!r}: expected a mask of shape {clip.shape[:-1]} for a clip of shape "
                f"{clip.shape}, got {mask.shape}"
            )
        drawn = self.draw(rng, clip.shape)
        return (
            self.on_clip(clip, drawn),
            None if mask is None else self.on_mask(mask, drawn),
            None if label is None else self.on_label(label, drawn),
        )

    def __call__(self, clip, rng=None, mask=None, label=None):
        """The changed clip; a tuple of clip, mask, label if mask or label were given."""
        clip, mask, label = self.apply(clip, rng, mask, label)
        given = [clip] + [extra for extra in (mask, label) if extra is not None]
        return given[0] if len(given) == 1 else tuple(given)

    def __repr__(self):
        options = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({options})"


class Mirror(Transform):
    """What turns a clip round with probability p, and exchanges classes with it.

    swap: pairs of class names that change places, such as {"left": "right"}; one direction stands
    for both. `draw` says whether the clip is turned. A subclass gives `on_clip` and `on_mask`.
    """

    random = True

    def __init__(self, p=0.5, swap=None):
        kind = type(self).__name__
        if not 0 <= p <= 1:
            raise ValueError(f"{kind}: expected 0 <= p <= 1, got {p}")
        self.p = p
        self.swap = dict(swap or {})
        self._partner = {new: old for old, new in self.swap.items()} | self.swap
        if any(self._partner[self._partner[name]] != name for name in self._partner):
            raise ValueError(f"{kind}: swap={swap} does not pair the classes")

    @property
    def class_names(self):
        return frozenset(self._partner)

    def draw(self, rng, shape):
        return rng.random() < self.p

    def on_label(self, label, turned):
        return self._partner.get(label, label) if turned else label


def apply(transform, clip, rng=None, mask=None, label=None):
    """`(clip, mask, label)` after any transform; a plain function leaves mask and label alone."""
    if isinstance(transform, Transform):
        return transform.apply(clip, rng, mask, label)
    return transform(clip, rng), mask, label


class Compose(Transform):
    """Several transforms in a row; plain functions of (clip, rng) may be among them."""

    def __init__(self, transforms):
        self.transforms = list(transforms)
        for step in self.transforms:
            if not callable(step):
                raise TypeError(f"Compose: expected transforms, got {step!r}")
        self._names = [getattr(step, "class_names", frozenset()) for step in self.transforms]

    @property
    def class_names(self):
        return frozenset().union(*self._names)

    def apply(self, clip, rng=None, mask=None, label=None):
        for step in self.transforms:
            clip, mask, label = apply(step, clip, rng, mask, label)
        return clip, mask, label

    def __repr__(self):
        return f"Compose({self.transforms!r})"
