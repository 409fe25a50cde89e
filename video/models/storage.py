"""Whole networks in files: weights, class names, preprocessing, and how to build the network."""

import nn
from nn import checkpoint
from video.models.cnn_attention import CNNAttention
from video.models.cnn_rnn import CNNRNN
from video.models.conv3d import Conv3dNet
from video.models.early_fusion import EarlyFusionCNN
from video.models.frame_cnn import FrameCNN
from video.models.r2plus1d import R2Plus1DNet
from video.models.resnet3d import ResNet3D, SmallResNet3D
from video.models.video_transformer import VideoTransformer

MODELS = {
    model.__name__: model
    for model in (
        FrameCNN,
        EarlyFusionCNN,
        Conv3dNet,
        R2Plus1DNet,
        ResNet3D,
        SmallResNet3D,
        CNNRNN,
        CNNAttention,
        VideoTransformer,
    )
}
ARGUMENTS = ("num_classes", "size", "frames", "channels")


def save(model, path, classes, preprocessing=None):
    """Write `model` to `path` (.npz) with all that `load` needs to use it elsewhere.

    classes: the name of each class in the order of the logits. preprocessing: a dict with
    "mean" and "std" as in `VideoModel`, and whatever else JSON can hold. Both become
    attributes of the model too, so that `model.prepare(clip)` does as in training.

    Raises ValueError for a model that `load` could not build, or another number of classes.
    """
    kind, classes = type(model).__name__, list(classes)
    if MODELS.get(kind) is not type(model):
        raise ValueError(f"{path}: a {kind} cannot be saved as one of {', '.join(MODELS)}")
    if len(classes) != model.num_classes:
        raise ValueError(
            f"{path}: {len(classes)} class names for a {kind} of {model.num_classes} classes"
        )
    preprocessing = dict(preprocessing or {})
    arguments = {name: getattr(model, name) for name in (*ARGUMENTS, *model.options)}
    nn.save(model, path, arguments=arguments, classes=classes, preprocessing=preprocessing)
    model.classes, model.preprocessing = classes, preprocessing


def load(path):
    """The network that `save` wrote, in `eval()` mode, with `.classes` and `.preprocessing`.

        model = video.models.load("model.npz")
        clip = video.read("clip.mp4", size=model.size, frames=model.frames)
        with nn.inference():
            logits = model(model.prepare(clip))  # (1, K)

    Raises FileNotFoundError, or ValueError with the path and the reason: no such file, not one
    of Backreel's, weights without a network, a network unknown here.
    """
    header, arrays = checkpoint.read(path)
    kind, metadata = header["module"], header["metadata"]
    missing = [name for name in ("arguments", "classes", "preprocessing") if name not in metadata]
    if missing:
        raise ValueError(
            f"{path}: holds weights of a {kind} without its {' and '.join(missing)}; expected a "
            "file written by video.models.save (nn.load reads weights into a network at hand)"
        )
    if kind not in MODELS:
        raise ValueError(f"{path}: holds the network {kind}, expected one of {', '.join(MODELS)}")
    try:
        model = MODELS[kind](**_tuples(metadata["arguments"]))
    except (AttributeError, TypeError, ValueError, MemoryError) as error:
        raise ValueError(f"{path}: no {kind} can be built from its arguments: {error}") from None
    if len(metadata["classes"]) != model.num_classes:
        raise ValueError(
            f"{path}: {len(metadata['classes'])} class names for {model.num_classes} classes"
        )
    checkpoint.fill(model, arrays[""], header, path)
    model.classes, model.preprocessing = metadata["classes"], metadata["preprocessing"]
    return model.eval()


def with_new_head(model, num_classes, rng=None):
    """A network with the weights of `model` and a fresh last layer, for other classes.

    All arrays whose shape does not depend on the classes are copied; the last dense layer starts
    as in a new network.
    """
    arguments = {name: getattr(model, name) for name in (*ARGUMENTS, *model.options)}
    new = type(model)(**{**arguments, "num_classes": num_classes}, rng=rng)
    fresh = new.swap_head(nn.Sequential())  # no modules: the identity
    head = model.swap_head(nn.Sequential())
    new.load_state_dict(model.state_dict())
    model.swap_head(head)
    new.swap_head(fresh)
    return new


def _tuples(arguments):
    """JSON has no tuples: lists come back as what they were."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
