"""Names of initializers, and the configurations that stand for them."""

import difflib
import subprocess
import sys

import numpy as np
import pytest

from fanin import initializers
from fanin.errors import ArgumentError, ExpressionError, FaninError, SeedError, UnknownInitializerError
from fanin.initializers import ALIASES, deserialize, get, serialize
from fanin.initializers.registry import KERAS_NAMES

ABSENT = {"Initializer", "initializer", "RandomInitializer"}


def keras_names() -> list[str]:
    from keras.src.initializers import ALL_OBJECTS_DICT

    return sorted(ALL_OBJECTS_DICT.keys() - ABSENT)


def test_every_name_of_keras_3_gives_its_class() -> None:
    from keras.src.initializers import ALL_OBJECTS_DICT

    names = keras_names()
    for name in names:
        found = get(name)
        assert type(found).__name__ == ALL_OBJECTS_DICT[name].__name__, name
        assert getattr(initializers, name) is type(found), name
    assert len(names) == 39


# tests of field.md section 4: Keras 2.2 to 2.3, Keras 1.2, tf.keras, torch, JAX, Paddle, TensorFlow 1.
OTHERS = {
    "Constant": ["constant", "ConstantV2", "constant_initializer", "assign"],
    "GlorotNormal": [
        "glorot_normal",
        "GlorotNormalV2",
        "glorot_normalV2",
        "xavier_normal",
        "glorot_normal_initializer",
    ],
    "GlorotUniform": ["glorot_uniform", "GlorotUniformV2", "glorot_uniformV2", "xavier_uniform", "XavierUniform"],
    "HeNormal": ["he_normal", "HeNormalV2", "he_normalV2", "kaiming_normal", "KaimingNormal", "HE_NORMAL", "henormal"],
    "HeUniform": ["he_uniform", "HeUniformV2", "he_uniformV2", "kaiming_uniform", "KaimingUniform"],
    "Identity": ["identity", "IdentityV2", "eye", "Identity"],
    "LecunNormal": ["lecun_normal", "LecunNormalV2", "lecun_normalV2", "LeCunNormal"],
    "LecunUniform": ["lecun_uniform", "LecunUniformV2", "lecun_uniformV2"],
    "Ones": ["ones", "one", "OnesV2", "One", "ones_initializer"],
    "Orthogonal": ["orthogonal", "OrthogonalV2", "orthogonal_initializer"],
    "RandomNormal": ["normal", "random_normal", "RandomNormalV2", "random_normal_initializer", "Normal"],
    "RandomUniform": ["uniform", "random_uniform", "RandomUniformV2", "random_uniform_initializer", "Uniform"],
    "STFT": ["stft"],
    "TruncatedNormal": ["truncated_normal", "TruncatedNormalV2", "trunc_normal", "truncated_normal_initializer"],
    "VarianceScaling": ["VarianceScaling", "VarianceScalingV2", "variance_scaling", "variance_scaling_initializer"],
    "Zeros": ["zeros", "zero", "ZerosV2", "Zero", "zeros_initializer"],
}


def test_names_of_other_libraries() -> None:
    count = 0
    for cls, names in OTHERS.items():
        for name in names:
            assert get(name) == getattr(initializers, cls)(), name
            count += 1
    assert count == 69
    assert set(OTHERS) == {cls.__name__ for cls in KERAS_NAMES.values()}


def test_msra_prelu_is_the_one_of_mxnet() -> None:
    expected = initializers.VarianceScaling(2 / 1.0625, "fan_avg", "untruncated_normal")
    assert get("msra_prelu") == get("MSRAPrelu") == expected
    assert get("msra_prelu(seed=1)").seed == 1
    assert deserialize({"class_name": "MSRAPrelu"}) == expected


def test_names_that_mean_something_else_elsewhere_say_so() -> None:
    for name in ("normal", "uniform", "kaiming_normal", "xavier_normal", "trunc_normal"):
        assert "torch" in ALIASES[name].note, name


def test_attributes_are_the_names_of_keras_only() -> None:
    assert initializers.he_normal is initializers.HeNormal
    assert initializers.constant is initializers.Constant
    assert initializers.orthogonal is initializers.Orthogonal
    assert initializers.stft is initializers.STFT
    assert "he_normal" in dir(initializers)
    for name in ("kaiming_normal", "HE_NORMAL", "he_normal_", "he_normal_v2", "nothing"):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
            getattr(initializers, name)


def test_no_submodule_hides_a_name() -> None:
    """Importing `fanin.initializers.constant`, were it a file, would replace the class by the module."""
    import pkgutil

    modules = {module.name for module in pkgutil.iter_modules(initializers.__path__)}
    assert {"base", "registry"} <= modules
    assert not modules & (KERAS_NAMES.keys() | set(initializers.__all__))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("he_normal(seed=1)", initializers.HeNormal(seed=1)),
        (" HeNormal( 1 ) ", initializers.HeNormal(seed=1)),
        ("he_normal()", initializers.HeNormal()),
        ("RandomNormal(stddev=0.02 / sqrt(2 * n_layer))", initializers.RandomNormal(stddev=0.02 / 24**0.5)),
        ("truncated_normal(lower=-inf, upper=1)", initializers.TruncatedNormal(lower=-np.inf, upper=1.0)),
        ("variance_scaling(1 / 3, 'fan_out', input_axes=[0])",
         initializers.VarianceScaling(1 / 3, "fan_out", input_axes=[0])),
        ("constant([[1, 2], [3, 4]])", initializers.Constant([[1, 2], [3, 4]])),
        ("constant(True)", initializers.Constant(True)),
        ("stft('imag', None)", initializers.STFT("imag", None)),
        ("scaled(random_normal(stddev=1 / n_layer, seed=3), gain=1 / sqrt(2 * n_layer))",
         initializers.Scaled(initializers.RandomNormal(0.0, 1 / 12, 3), 1 / 24**0.5)),
        ("Scaled('he_normal(seed=3)', log(n_layer))", initializers.Scaled(initializers.HeNormal(3), float(np.log(12)))),
        ("masked(scaled(initializer=ones(), gain=2), 'band', 1, None)",
         initializers.Masked(initializers.Scaled("ones", 2.0), "band", 1, None)),
    ],
)  # fmt: skip
def test_texts_with_arguments(text: str, expected: initializers.Initializer) -> None:
    assert get(text, {"n_layer": 12}) == expected


def test_a_repr_is_such_a_text() -> None:
    for initializer in (initializers.HeNormal(7), initializers.Constant([1.5]), initializers.STFT(window=[1.0])):
        assert get(repr(initializer)) == initializer


def test_what_get_returns_for_objects() -> None:
    init = initializers.HeNormal(seed=1)
    assert get(None) is None
    assert get(init) is init
    assert get(initializers.HeNormal) == initializers.HeNormal()
    assert get({"class_name": "HeNormal", "config": {"seed": 1}}) == init

    def mine(shape: tuple[int, ...], dtype: object = None) -> np.ndarray:
        return np.zeros(shape)

    class Callable:
        def __call__(self, shape: tuple[int, ...], dtype: object = None) -> np.ndarray:
            return np.ones(shape)

    class Mine(initializers.Initializer):
        def __call__(self, shape: tuple[int, ...], dtype: object = None) -> np.ndarray:  # type: ignore[override]
            return np.ones(shape)

    assert get(mine) is mine
    assert type(get(Callable)) is Callable
    assert type(get(Mine)) is Mine
    instance = Mine()
    assert get(instance) is instance


def test_arrays_make_constants() -> None:
    import jax.numpy
    import torch

    for array in (np.array([1.0, 2.0]), torch.tensor([1.0, 2.0]), jax.numpy.array([1.0, 2.0])):
        assert get(array) == initializers.Constant([1.0, 2.0])
    assert get(np.array(3.0)) == initializers.Constant(3.0)


class Uncallable:
    """A class whose instances initialize nothing."""


@pytest.mark.parametrize(
    ("identifier", "error", "fragment"),
    [
        ("he_norml", UnknownInitializerError, "no initializer is called 'he_norml'; did you mean he_normal"),
        ("HeNorm", UnknownInitializerError, "did you mean he_normal"),
        ("he-normal", UnknownInitializerError, "did you mean he_normal"),
        ("truncated", UnknownInitializerError, "truncated_normal"),
        ("", UnknownInitializerError, "there are Arange, Constant, GlorotNormal"),
        ("zzz", UnknownInitializerError, "there are Arange, Constant, GlorotNormal"),
        ("zzz(1)", UnknownInitializerError, "no initializer is called 'zzz'"),
        ("kaiming_normal_", UnknownInitializerError, "use fanin.torch.kaiming_normal_."),
        ("kaiming_normal_", UnknownInitializerError, "is called 'kaiming_normal'"),
        ("he_normal_", UnknownInitializerError, "use fanin.torch.init_(tensor, 'he_normal')"),
        ("kaiming_normal_(seed=1)", UnknownInitializerError, "use fanin.torch.kaiming_normal_."),
        ("dirac", UnknownInitializerError, "fanin.torch.dirac_"),
        ("sparse_", UnknownInitializerError, "fanin.torch.sparse_"),
        ("DeltaOrthogonal", UnknownInitializerError, "fanin.jax.delta_orthogonal"),
        ("xavier", UnknownInitializerError, "say glorot_uniform or glorot_normal"),
        ("LSTMBias", UnknownInitializerError, "Ones for the forget gate"),
        (0.5, UnknownInitializerError, "0.5 stands for no initializer; for a constant write Constant(0.5)"),
        (0, UnknownInitializerError, "Constant(0)"),
        (np.float32(0.5), UnknownInitializerError, "Constant(np.float32(0.5))"),
        ([1, 2], UnknownInitializerError, "Constant([1, 2])"),
        (object(), UnknownInitializerError, "Give an initializer, its name"),
        (Uncallable, UnknownInitializerError, "Give an initializer, its name"),
        ("he_normal(", ExpressionError, "was never closed"),
        ("he_normal(seed=n)", ExpressionError, "unknown name 'n'"),
        ("he_normal(sed=1)", ArgumentError, "'he_normal(sed=1)': HeNormal: got an unexpected keyword argument 'sed'"),
        ("he_normal(sed=1)", ArgumentError, "called as HeNormal(seed=None, input_axes=None, output_axes=None)"),
        ("zeros(1)", ArgumentError, "called as Zeros()"),
        ("he_normal(1, seed=2)", ArgumentError, "multiple values"),
        ("random_normal(stddev=-1)", ArgumentError, "'random_normal(stddev=-1)': RandomNormal: stddev"),
        ("scaled(he_norml(), 2)", UnknownInitializerError, "called 'he_norml'; did you mean he_normal"),
        ("random_normal(stddev=sqr(2))", UnknownInitializerError, "called 'sqr'; did you mean sqrt?"),
        ("random_normal(ones())", ArgumentError, "mean=Ones() is a Ones"),
        ("constant([ones()])", ExpressionError, "unknown function 'ones'"),
        ("scaled(ones(1), 2)", ArgumentError, "called as Ones()"),
        ("scaled(ones(), ones())", ArgumentError, "gain must be one finite real number; gain=Ones()"),
        ("scaled(ones)", ExpressionError, "unknown name 'ones'"),
        ("scaled('ones / 2', 2)", UnknownInitializerError, "called 'ones / 2'; did you mean"),
        ("scaled(2, 2)", UnknownInitializerError, "2 stands for no initializer"),
        ("scaled(None, 2)", ArgumentError, "initializer is None; give one, such as Scaled('he_normal', ...)"),
        ("scaled", ArgumentError, "called as Scaled(initializer, gain)"),
        ("scaled(" * 40 + "ones()" + ", 2)" * 40, ArgumentError, "wrapped more than 32 deep"),
        ("he_normal(seed=-1)", SeedError, "'he_normal(seed=-1)': seed must be"),
    ],
)
def test_what_stands_for_nothing(identifier: object, error: type[Exception], fragment: str) -> None:
    with pytest.raises(error) as caught:
        get(identifier)
    assert fragment in str(caught.value)
    assert type(caught.value) is error
    assert isinstance(caught.value, FaninError)


def test_no_initializer_is_called_as_a_function_of_arithmetic() -> None:
    from fanin.expressions import FUNCTIONS
    from fanin.initializers.registry import _BY_PLAIN_NAME

    assert len(FUNCTIONS) == 7
    assert not FUNCTIONS.keys() & _BY_PLAIN_NAME.keys()


def test_no_name_is_foreign_and_known() -> None:
    from fanin.initializers.registry import _BY_PLAIN_NAME, _FOREIGN_BY_PLAIN_NAME

    assert not _BY_PLAIN_NAME.keys() & _FOREIGN_BY_PLAIN_NAME.keys()
    assert len(_BY_PLAIN_NAME) == len(ALIASES)  # no two names fall together
    assert difflib.get_close_matches("henorml", _BY_PLAIN_NAME)


# Serialization ---------------------------------------------------------------------------------


def test_keras_reads_what_we_write_and_we_read_what_it_writes() -> None:
    import keras

    for name in sorted({cls.__name__ for cls in KERAS_NAMES.values()}):
        ours, theirs = getattr(initializers, name)(), getattr(keras.initializers, name)()
        assert type(keras.initializers.deserialize(serialize(ours))).__name__ == name
        found = deserialize(keras.initializers.serialize(theirs))
        assert type(found) is type(ours)
        assert {**found.get_config(), "distribution": ""} == {**ours.get_config(), "distribution": ""}
    array = keras.initializers.Constant(np.array([1.0, 2.0]))
    assert deserialize(keras.initializers.serialize(array)) == initializers.Constant([1.0, 2.0])
    scalar = keras.initializers.Constant(np.float32(2.0))
    assert deserialize(keras.initializers.serialize(scalar)) == initializers.Constant(2.0)
    stft = keras.initializers.STFT(window=np.ones(3))
    assert deserialize(keras.initializers.serialize(stft)) == initializers.STFT(window=np.ones(3))


def test_configurations_of_keras_2() -> None:
    config = {"scale": 2.0, "mode": "fan_in", "distribution": "normal", "seed": None}
    found = deserialize({"class_name": "VarianceScaling", "config": config})
    assert found == initializers.VarianceScaling(2.0)
    for name in sorted({cls.__name__ for cls in KERAS_NAMES.values()}):  # tf.keras wrote a dtype, and dropped it
        cls = getattr(initializers, name)
        config = {**cls().get_config(), "dtype": "float32"}
        assert deserialize({"class_name": name, "config": config}) == cls.from_config(config) == cls()
    assert deserialize("zeros") == initializers.Zeros()
    assert deserialize({"class_name": "Zeros"}) == initializers.Zeros()
    assert deserialize(None) is None
    assert serialize(None) is None


class Mine(initializers.Initializer):
    """An initializer of a user's own."""

    def __init__(self, level: float) -> None:
        self.level = level

    def get_config(self) -> dict[str, float]:
        return {"level": self.level}


class Typed(Mine):
    """One whose dtype is an argument."""

    def __init__(self, level: float, dtype: str = "float32") -> None:
        super().__init__(level)
        self.dtype = dtype


class Open(Mine):
    """One that takes whatever comes."""

    def __init__(self, **arguments: object) -> None:
        self.dtype = arguments["dtype"]


def test_a_dtype_reaches_a_class_that_takes_one() -> None:
    for cls in (Typed, Open):
        assert cls.from_config({"level": 1.0, "dtype": "float16"}).dtype == "float16"
    assert Mine.from_config({"level": 1.0, "dtype": "float16"}).level == 1.0


@pytest.mark.parametrize("cls", [initializers.HeNormal, initializers.Constant, initializers.STFT])
@pytest.mark.parametrize("config", [None, [], "seed", 3])
def test_a_configuration_is_a_dict(cls: type[initializers.Initializer], config: object) -> None:
    with pytest.raises(ArgumentError, match=f"{cls.__name__}: a configuration is a dict of arguments, not"):
        cls.from_config(config)  # type: ignore[arg-type]


def test_custom_objects() -> None:
    written = serialize(Mine(2.0))
    assert written == {"class_name": "Mine", "config": {"level": 2.0}}
    assert deserialize(written, {"Mine": Mine}) == Mine(2.0)
    theirs = {**written, "module": "elsewhere", "registered_name": "pack>Mine"}
    assert deserialize(theirs, {"pack>Mine": Mine}) == Mine(2.0)
    assert deserialize({"class_name": "f"}, {"f": max}) is max


@pytest.mark.parametrize(
    ("config", "error", "fragment"),
    [
        (3, UnknownInitializerError, "3 is no configuration"),
        ({}, UnknownInitializerError, "{} is no configuration"),
        ({"class_name": 3}, UnknownInitializerError, "is no configuration"),
        ({"class_name": "Nope"}, UnknownInitializerError, "no initializer is called 'Nope'"),
        ({"class_name": "Ones", "confg": {}}, UnknownInitializerError, "has 'confg', which no initializer has"),
        ({"class_name": "Ones", "config": 3}, UnknownInitializerError, "must be a dict of arguments, not 3"),
        ({"class_name": "Ones", "config": ""}, UnknownInitializerError, "must be a dict of arguments, not ''"),
        ({"class_name": "Ones", "config": np.ones(2)}, UnknownInitializerError, "must be a dict of arguments"),
        ({"class_name": "Ones", "module": "mine"}, UnknownInitializerError, "of the module 'mine'"),
        ({"class_name": "Ones", "config": {"value": 1}}, ArgumentError, "Ones: got an unexpected keyword argument"),
        ({"class_name": "HeNormal", "config": {"seed": {"class_name": "SeedGenerator"}}}, SeedError, "SeedGenerator"),
        ({"class_name": "Constant", "config": {"value": {"class_name": "x"}}}, ArgumentError, "serialized value"),
        ({"class_name": "Constant", "config": {"value": {"class_name": "__numpy__"}}}, ArgumentError, "give a list"),
        ({"class_name": "Ones", "config": {"dtype": "float32", "value": 1}}, ArgumentError, "argument 'value'"),
    ],
)
def test_configurations_that_cannot_be_read(config: object, error: type[Exception], fragment: str) -> None:
    with pytest.raises(error) as caught:
        deserialize(config)  # type: ignore[arg-type]
    assert fragment in str(caught.value)


def test_custom_objects_that_are_none() -> None:
    for custom in (3, [Mine], np.ones(2)):
        with pytest.raises(UnknownInitializerError, match="custom_objects must be a dict of classes by name"):
            deserialize({"class_name": "Mine"}, custom)  # type: ignore[arg-type]
    with pytest.raises(UnknownInitializerError, match="custom_objects has 3 for 'Mine'; give a class or a function"):
        deserialize({"class_name": "Mine"}, {"Mine": 3})


@pytest.mark.parametrize("thing", [max, initializers.HeNormal, 3])
def test_what_has_no_configuration_is_not_serialized(thing: object) -> None:
    with pytest.raises(UnknownInitializerError, match="has no configuration"):
        serialize(thing)


def test_importing_loads_no_framework() -> None:
    heavy = {"torch", "jax", "keras", "numba", "scipy"}
    code = f"import sys, fanin.initializers, fanin.backend; print({heavy} & {{*sys.modules}})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
