"""Protocols, measures of uncertainty and masked targets of a user's own."""

import pytest
import torch
import torch.nn.functional as F
from helpers.builders import build_model, image_bytes, make_batch
from helpers.small_models import build
from mmengine.config import Config

import mmanchor
from mmanchor import MASKED_TARGETS, PROTOCOLS, UNCERTAINTIES
from mmanchor.engine import KReferenceHook, launch
from mmanchor.export.onnx import export_model
from mmanchor.functional import (
    MaskedTarget,
    build_masked_target,
    check_uncertainty,
)
from mmanchor.models import (
    Answers,
    FoldedReferences,
    Protocol,
    ReferenceMaskingLoss,
    build_protocol,
    fold_reference,
)
from mmanchor.suite import candidates

BUILT_IN = {
    PROTOCOLS: ['mean', 'single', 'transduction', 'adaptive'],
    MASKED_TARGETS: ['uniform', 'label'],
    UNCERTAINTIES: [
        'sigmoid_std',
        'softmax_std',
        'predictive_entropy',
        'mutual_information',
        'calibrated_logits',
        'energy',
        'max_logit',
        'anchor_score',
    ],
}


class Last(Protocol):
    """The last references of the bank."""

    def __init__(self, count=1):
        self.count = count

    def answer(self, model, images):
        return [Answers(None, model.reference_logits(images)[-self.count :])]


class Halves(Protocol):
    """Later images first, then earlier ones."""

    def answer(self, model, images):
        rows = torch.arange(len(images)).flip(0)
        return [Answers(rows, model.reference_logits(images[rows]))]


class Certain(MaskedTarget):
    """All of the probability for one class."""

    def __init__(self, label=0):
        self.label = label

    def distribution(self, logits, labels):
        rows = torch.full((len(logits),), self.label)
        return F.one_hot(rows, logits.size(1)).to(logits)


def margin(logits):
    first, second = logits.mean(0).topk(2).values.unbind(-1)
    return first - second


@pytest.fixture(autouse=True)
def mine(monkeypatch):
    """Register the above for the time of a test."""
    for registry in BUILT_IN:
        monkeypatch.setattr(
            registry, '_module_dict', dict(registry.module_dict)
        )
    PROTOCOLS.register_module('last', module=Last)
    PROTOCOLS.register_module(module=Halves)
    MASKED_TARGETS.register_module('certain', module=Certain)
    UNCERTAINTIES.register_module(of_spread=False)(margin)
    UNCERTAINTIES.register_module('range', module=lambda x: x.amax(0))


@pytest.fixture
def how(monkeypatch):
    """What a suite says of a model with a hook's settings."""
    monkeypatch.setattr(candidates, 'check_checkpoint', lambda path: None)

    def words(hook):
        cfg = Config(dict(custom_hooks=[dict(hook, type='KReferenceHook')]))
        return candidates.Candidate('a', cfg, 'a.pth', 'a.py').how

    return words


@pytest.mark.parametrize('registry', BUILT_IN, ids=lambda one: one.name)
def test_the_built_in_ones_are_registered_the_same_way(registry):
    assert (
        list(registry.module_dict)[: len(BUILT_IN[registry])]
        == (BUILT_IN[registry])
    )
    assert registry.scope == 'mmanchor'
    assert registry in (
        mmanchor.PROTOCOLS,
        mmanchor.UNCERTAINTIES,
        mmanchor.MASKED_TARGETS,
    )


@pytest.mark.parametrize('registry', BUILT_IN, ids=lambda one: one.name)
def test_a_name_that_exists_is_refused_unless_forced(registry):
    name = BUILT_IN[registry][0]
    with pytest.raises(KeyError, match=f'{name} is already registered in'):
        registry.register_module(name, module=Last)
    registry.register_module(name, force=True, module=Last)
    assert registry.get(name) is Last


@pytest.mark.parametrize('name', ['all', 'pred_score', 'num_references'])
def test_a_measure_may_not_be_called_like_another_field(name):
    with pytest.raises(ValueError, match=f"do not have yet, but got '{name}'"):
        UNCERTAINTIES.register_module([name], module=margin)


@torch.no_grad()
@pytest.mark.parametrize(
    'config',
    ['last', 'mmanchor.last', f'{__name__}.Last', dict(type=Last), Last()],
)
def test_a_protocol_answers_by_name_or_class(config):
    model, images = build('convolution'), torch.randn(3, 3, 32, 32)
    expected = model.reference_logits(images)[-1]
    model.protocol = config
    assert model.protocol.name == 'last'
    torch.testing.assert_close(model(images), expected)
    samples = model.predict(images)
    assert [sample.num_references for sample in samples] == [1, 1, 1]
    model.protocol = dict(type='last', count=2)
    assert model.predict(images)[0].num_references == 2


@torch.no_grad()
def test_a_single_group_in_another_order_is_put_in_order():
    model, images = build('convolution'), torch.randn(3, 3, 32, 32)
    expected = model(images)
    model.protocol = 'Halves'
    torch.testing.assert_close(model(images), expected)
    torch.testing.assert_close(
        torch.stack([one.pred_logits for one in model.predict(images)]),
        expected,
    )


@torch.no_grad()
@pytest.mark.parametrize(
    'answers',
    [
        lambda logits: [],
        lambda logits: [Answers(None, logits[:, :2])],
        lambda logits: [Answers(None, logits[0])],
        lambda logits: [Answers(torch.tensor([0, 0, 1]), logits)],
        lambda logits: [Answers(torch.tensor([0, 1]), logits)],
    ],
)
def test_a_protocol_that_leaves_images_out_is_refused(monkeypatch, answers):
    model, images = build('convolution'), torch.randn(3, 3, 32, 32)
    monkeypatch.setattr(
        Last,
        'answer',
        lambda self, *_: answers(model.reference_logits(images)),
    )
    model.protocol = 'last'
    with pytest.raises(ValueError, match="'last' to answer each of 3 images"):
        model(images)


def test_unknown_names_say_which_was_probably_meant():
    with pytest.raises(ValueError, match="got 'lsat'. Did you mean 'last'"):
        build_protocol('lsat')
    with pytest.raises(ValueError, match="'certan'. Did you mean 'certain'"):
        build_masked_target('certan')
    with pytest.raises(ValueError, match="'magin'. Did you mean 'margin'"):
        check_uncertainty(['magin'])
    for name in ('x.Y', 'torch.Nothing'):
        with pytest.raises(ValueError, match=f"'{name}'. .*`custom_imports`"):
            build_protocol(name)
    with pytest.raises(TypeError, match="target 'certain' to be among label"):
        build_masked_target(dict(type='certain', labl=1))
    with pytest.raises(TypeError, match="'last' .* cuont. Did you mean 'coun"):
        build_protocol(dict(type='last', cuont=1))


def test_classes_of_another_kind_are_refused():
    with pytest.raises(TypeError, match='subclass of Protocol, but got Certa'):
        build_protocol(dict(type=Certain))
    with pytest.raises(TypeError, match='MaskedTarget, but got Last'):
        build_masked_target(dict(type=Last))


@torch.no_grad()
def test_folding_and_export_refuse_a_protocol_by_name(tmp_path):
    model = build('convolution', k=1)
    model.protocol = 'last'
    for fold in (
        fold_reference,
        FoldedReferences,
        lambda one: export_model(
            one, tmp_path / 'model.pt2', image_bytes(5, 32)
        ),
    ):
        with pytest.raises(ValueError, match="every image, but got 'last'"):
            fold(model)


@torch.no_grad()
def test_folding_keeps_a_protocol_that_says_it_can(monkeypatch):
    class First(Last):
        features_of = slice(1)
        can_fold = True

        def answer(self, model, images):
            return [Answers(None, model.reference_logits(images, slice(1)))]

    model, images = build('convolution'), torch.randn(3, 3, 32, 32)
    model.protocol = First()
    torch.testing.assert_close(
        FoldedReferences(model)(images), model(images), rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def test_predictions_carry_a_measure_by_name():
    model, images = build('convolution'), torch.randn(3, 3, 32, 32)
    model.uncertainty = ['margin', 'energy']
    expected = margin(model.reference_logits(images))
    found = torch.stack([one.margin for one in model.predict(images)])
    torch.testing.assert_close(found, expected)
    model.uncertainty = 'all'
    assert 'margin' in model.predict(images)[0]


@torch.no_grad()
def test_adaptive_refuses_a_measure_unless_it_says_what_it_is_of():
    model, images = build('convolution'), torch.randn(3, 3, 32, 32)
    model.protocol, model.uncertainty = 'adaptive', 'margin'
    assert 'margin' in model.predict(images)[0]
    model.uncertainty = 'range'
    with pytest.raises(ValueError, match='got `range`.*of_spread=False'):
        model.predict(images)


@torch.no_grad()
def test_a_measure_of_another_shape_is_refused():
    UNCERTAINTIES.register_module('flat', module=lambda logits: logits.mean())
    model = build('convolution')
    model.uncertainty = 'flat'
    with pytest.raises(ValueError, match=r"'flat' to have .* but got \(\)"):
        model.predict(torch.randn(3, 3, 32, 32))


@pytest.mark.parametrize('sigmoid', [False, True])
def test_masked_rows_answer_to_a_target_by_name(sigmoid):
    logits, labels = torch.randn(6, 4), torch.randint(4, (6,))
    mask = torch.arange(6) < 2
    host = dict(type='CrossEntropyLoss', use_sigmoid=sigmoid)
    if sigmoid:
        labels = F.one_hot(labels, 4).float()
    loss = ReferenceMaskingLoss(host, dict(type='certain', label=3))
    wanted = torch.zeros(2, 4)
    wanted[:, 3] = 1
    masked = (
        F.binary_cross_entropy_with_logits(logits[:2], wanted, reduction='sum')
        if sigmoid
        else F.cross_entropy(logits[:2], wanted, reduction='sum')
    )
    rest = loss.loss(logits[2:], labels[2:], avg_factor=4)
    torch.testing.assert_close(
        loss(logits, labels, mask), (masked + 4 * rest) / 6
    )


def test_uniform_is_the_distribution_that_says_so():
    class Uniform(MaskedTarget):
        def distribution(self, logits, labels):
            return torch.full_like(logits, 1 / logits.size(1))

    logits, labels = torch.randn(5, 3), torch.arange(5)
    for sigmoid in (False, True):
        torch.testing.assert_close(
            Uniform().loss(logits, labels, sigmoid),
            build_masked_target('uniform').loss(logits, labels, sigmoid),
        )


def test_a_distribution_of_another_shape_is_refused(monkeypatch):
    monkeypatch.setattr(
        Certain, 'distribution', lambda self, logits, labels: logits[:1]
    )
    with pytest.raises(ValueError, match=r"'certain' to have .* got \(1, 3\)"):
        build_masked_target('certain').loss(torch.randn(2, 3), torch.arange(2))
    with pytest.raises(ValueError, match='two classes or more'):
        build_masked_target('certain').loss(torch.randn(2, 1), torch.arange(2))


def test_a_head_trains_on_a_target_by_name():
    model = build_model(
        preprocessor=dict(mask_prob=1.0, seed=0),
        head=dict(masked_target='certain'),
    ).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(8):
        batch = model.data_preprocessor(make_batch(6), training=True)
        loss = model(**batch, mode='loss')['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_flags_and_suites_know_the_names_that_a_config_imports(
    monkeypatch, tmp_path, how
):
    config = tmp_path / 'mine.py'
    config.write_text(
        "model = dict(type='AnchoredImageClassifier')\n"
        "custom_imports = dict(imports=['my_registered'])\n"
        "custom_hooks = [dict(type='KReferenceHook', num_references=4)]\n"
    )
    (tmp_path / 'my_registered.py').write_text(
        'from mmanchor import PROTOCOLS, UNCERTAINTIES\n'
        'from mmanchor.models.inference.protocols import Mean\n'
        "@PROTOCOLS.register_module('mine')\n"
        'class Mine(Mean):\n'
        '    def describe(self, num_references):\n'
        "        return f'mine of {num_references}'\n"
        "UNCERTAINTIES.register_module('lead', module=len)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'c.pth').write_bytes(b'')
    seen = []
    monkeypatch.setattr(launch, 'build_runner', seen.append)
    monkeypatch.setattr(launch, 'check_checkpoint', lambda *_: None)
    flags = [str(config), str(tmp_path / 'c.pth')]
    with pytest.raises(AttributeError):  # there is no runner to test with
        launch.test([*flags, '--protocol', 'mine', '--uncertainty', 'lead'])
    (hook,) = seen[0].custom_hooks
    assert hook.protocol == dict(type='mine') and hook.uncertainty == ['lead']
    assert how(seen[0].custom_hooks[0]) == 'mine of 4'
    with pytest.raises(ValueError, match="got 'mien'. Did you mean 'mine'"):
        launch.test([*flags, '--protocol', 'mien'])
    with pytest.raises(ValueError, match="got 'laed'. Did you mean 'lead'"):
        launch.test([*flags, '--uncertainty', 'laed'])


@pytest.mark.parametrize(
    'protocol,words',
    [
        ('mean', 'K = 4'),
        ('single', 'K = 1'),
        ('adaptive', 'K ≤ 4'),
        ('transduction', 'best of 50'),
        ('last', 'last, K = 4'),
    ],
)
def test_a_suite_says_how_references_are_used(protocol, words, how):
    assert how(dict(num_references=4, protocol=protocol)) == words


def test_the_hook_asks_for_the_least_references_of_a_protocol(monkeypatch):
    monkeypatch.setattr(Last, 'least_references', 5)
    with pytest.raises(ValueError, match="at least 5 for the protocol 'last'"):
        KReferenceHook(4, protocol='last')
