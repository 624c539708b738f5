"""``cfg.compile``: the network in one graph, compiled once for each case."""

import pytest
import torch
import torch._dynamo
from helpers.builders import image_bytes, make_batch, model_config
from helpers.small_models import build
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS
from torch import nn

from mmanchor.models import fold_reference
from mmanchor.models.folding import FoldedReferences

WARM_UP = 8  # masked after unmasked, the other way round, and so on
STEPS = 8


@MODELS.register_module()
class TwoConvolutions(nn.Sequential):
    """A backbone that is compiled in no time."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3),
        )

    def forward(self, x):
        return (super().forward(x),)


@pytest.fixture(autouse=True)
def _forget():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Graphs(list):
    """A backend that runs and keeps what it is given."""

    def __call__(self, graph, _):
        self.append(graph)
        return graph.forward

    def convolutions(self):
        return [
            sum('conv2d' in str(node.target) for node in graph.graph.nodes)
            for graph in self
        ]


def train(mask_by, compiler=None, **settings):
    """Losses and shares of masked rows; compiling anew late is an error."""
    torch.manual_seed(0)
    cfg = model_config(
        preprocessor=dict(mask_prob=0.5, mask_by=mask_by, seed=3), **settings
    )
    cfg['backbone'] = dict(type='TwoConvolutions')
    cfg['head']['in_channels'] = 8
    model = MODELS.build(cfg)
    optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05))
    step = model.train_step
    if compiler is not None:
        step = torch.compile(step, backend=compiler)
    losses, shares = [], []
    for i in range(WARM_UP + STEPS):
        with torch._dynamo.config.patch(error_on_recompile=i >= WARM_UP):
            out = step(make_batch(6, seed=i), optim)
        losses.append(out['loss'].item())
        shares.append(round(float(out['masked_share']), 2))
    return losses, shares


@pytest.mark.parametrize('mask_by', ['batch', 'sample'])
def test_steps_are_the_eager_ones_and_soon_need_no_compiling(mask_by):
    graphs = Graphs()
    losses, shares = train(mask_by)
    compiled, compiled_shares = train(mask_by, graphs)
    assert compiled == pytest.approx(losses, rel=1e-5)
    assert compiled_shares == shares
    assert len(set(shares)) >= (2 if mask_by == 'batch' else 4)
    # the whole backbone is in one graph, batch norm tracking or not
    assert 1 <= graphs.convolutions().count(2) <= 2
    assert 1 not in graphs.convolutions()
    # and there are few others: loss and log, of varying shapes, stay eager
    assert len(graphs) <= 10


@pytest.mark.parametrize('anchor_at', ['2', 'head'])
def test_anchored_features_are_compiled_as_well(anchor_at):
    graphs = Graphs()
    losses, _ = train('batch', anchor_at=anchor_at)
    compiled, _ = train('batch', graphs, anchor_at=anchor_at)
    assert compiled == pytest.approx(losses, rel=1e-5)
    # the backbone is in one graph, with the place inside
    assert 1 <= graphs.convolutions().count(2) <= 2
    assert 1 not in graphs.convolutions()


def vision_transformer(k):
    return build('patches', k=k)


def small_model(k, **settings):
    """A model with k references, compiled in no time."""
    torch.manual_seed(0)
    cfg = model_config(**settings)
    cfg['backbone'] = dict(type='TwoConvolutions')
    cfg['head']['in_channels'] = 8
    model = MODELS.build(cfg).eval()
    model.reference_bank.fill(image_bytes(k))
    return model


def check_one_graph(folded, **kwargs):
    """Compile without a graph break, and not again for a second batch."""
    images = torch.randn(3, 3, *folded_size(folded))
    expected = folded(images, **kwargs)
    compiled = torch.compile(
        lambda x: folded(x, **kwargs), fullgraph=True, backend='eager'
    )
    torch.testing.assert_close(compiled(images), expected)
    with torch._dynamo.config.patch(error_on_recompile=True):
        torch.testing.assert_close(compiled(images), expected)
    torch.testing.assert_close(folded(images, **kwargs), expected)


def folded_size(folded):
    return getattr(folded, 'model', folded).backbone.image_shape[1:]


@pytest.mark.parametrize('build_model', [small_model, vision_transformer])
@torch.no_grad()
def test_a_folded_reference_is_one_graph(build_model):
    check_one_graph(fold_reference(build_model(k=1)), mode='tensor')


@pytest.mark.parametrize('anchor_at', ['image', '2'])
@pytest.mark.parametrize('references_per_pass', [None, 2])
@torch.no_grad()
def test_several_folded_references_are_one_graph(
    anchor_at, references_per_pass
):
    model = small_model(5, anchor_at=anchor_at)
    check_one_graph(FoldedReferences(model, references_per_pass))


@torch.no_grad()
def test_the_adaptive_protocol_meets_no_recompile_limit():
    model = small_model(12)
    for parameter in model.head.parameters():
        nn.init.normal_(parameter, 0, 0.01)  # many rounds
    model.protocol = 'adaptive'
    compiled = torch.compile(model, backend='eager')
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        for count in (4, 3, 2):
            images = torch.randn(count, 3, 16, 16)
            torch.testing.assert_close(
                compiled(images), model(images), rtol=1e-4, atol=1e-5
            )


def test_a_run(run):
    losses = []
    for compiled in (False, dict(backend='eager')):
        runner = run(
            compile=compiled,
            **{
                'model.backbone': dict(_delete_=True, type='TwoConvolutions'),
                'model.head.in_channels': 8,
                'train_dataloader.dataset.indices': 32,
                'train_cfg.max_epochs': 1,
                'train_cfg.val_interval': 1,
                'data_preprocessor.mask_prob': 0.5,
            },
        )
        runner.train()
        losses.append(runner.message_hub.get_scalar('train/loss').data[0])
    assert losses[0].tolist() == pytest.approx(losses[1].tolist(), rel=1e-5)
