"""The registered operator with PyTorch's compilers, exporters, autocast and checks."""

import pytest
import torch
from attention_inputs import BACKENDS, FORMS, call, flat, random_inputs, skip_without

from d2_psformer.layers import MultiScaleDeformableAttention
from d2_psformer.ops import fused_ms_deform_attn, ms_deform_attn
from d2_psformer.ops import operator as registered

CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor")


@pytest.fixture(params=BACKENDS)
def backend(request):
    skip_without(request.param)
    return request.param


def arguments(components, backend, dtype=torch.float32):
    """Of the operator itself."""
    value, shapes, *others = random_inputs(dtype=dtype, components=components)
    return (value, flat(shapes), *others, backend)


@pytest.mark.parametrize("components", FORMS)
def test_opcheck(backend, components):
    given = arguments(components, backend)
    for tensor in given:
        if isinstance(tensor, torch.Tensor):
            tensor.requires_grad_()
    everything = (*CHECKS, "test_aot_dispatch_dynamic")
    torch.library.opcheck(registered.ms_deform_attn, given, test_utils=everything)


@pytest.mark.parametrize("components", FORMS)
def test_opcheck_of_the_backward_operator(backend, components):
    given = (torch.randn(2, 5, 12), *arguments(components, backend))
    torch.library.opcheck(registered.ms_deform_attn_backward, given, test_utils=CHECKS)


@pytest.mark.parametrize("components", FORMS)
def test_inside_the_operator_plain_pytorch_has_gradients_of_its_own(components):
    given = arguments(components, "pytorch", torch.float64)
    tensors = [x.requires_grad_() for x in given if isinstance(x, torch.Tensor)]

    def gradients(function):
        output = function()
        return torch.autograd.grad(output, tensors, torch.ones_like(output).cumsum(1))

    shapes = [(3, 4), (2, 2)]
    torch.testing.assert_close(
        gradients(lambda: registered.ms_deform_attn(*given)),
        gradients(lambda: call((given[0], shapes, *given[2:5]), "pytorch")),
    )


@pytest.mark.parametrize(
    ("backend", "components"), [*(("cpu", form) for form in FORMS), ("pytorch", 2)]
)
@torch._dynamo.config.patch(error_on_recompile=True)
def test_compiles_into_one_graph_of_any_size(backend, components):
    skip_without(backend)

    def function(value, height, width, sampling, attention, reference):
        inputs = (value, [(height, width), (2, 2)], sampling, attention, reference)
        return call(inputs, backend).sin()

    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    for batch, queries, height, width in ((5, 6, 7, 9), (8, 10, 11, 13)):
        value, _, *others = random_inputs(
            [(height, width), (2, 2)], batch, queries, components=components
        )
        leaves = [value.requires_grad_(), *(x.requires_grad_() for x in others if x is not None)]
        outcomes = []
        for each in (compiled, function):
            output = each(value, height, width, *others)
            outcomes.append((output, *torch.autograd.grad(output.sum(), leaves)))
        torch.testing.assert_close(*outcomes)


def test_without_a_named_backend_it_compiles_too():
    value, shapes, *others = random_inputs(components=2)
    torch.compiler.reset()
    compiled = torch.compile(
        lambda *tensors: fused_ms_deform_attn(tensors[0], shapes, *tensors[1:]),
        fullgraph=True,
        backend="aot_eager",
    )
    torch.testing.assert_close(
        compiled(value, *others), fused_ms_deform_attn(value, shapes, *others)
    )


class Layer(torch.nn.Module):
    """The attention module with fixed sizes of the levels."""

    def __init__(self):
        super().__init__()
        self.attention = MultiScaleDeformableAttention(12, num_heads=3, num_levels=2, num_points=2)

    def forward(self, query, reference, memory):
        return self.attention(query, reference, memory, [(3, 4), (2, 2)])


def layer_inputs(queries):
    return torch.randn(2, queries, 12), torch.rand(2, queries, 2, 2), torch.randn(2, 16, 12)


def test_a_layer_is_exported_with_any_number_of_queries():
    layer = Layer().eval()
    count = torch.export.Dim("queries", min=2)
    exported = torch.export.export(
        layer, layer_inputs(5), dynamic_shapes=({1: count}, {1: count}, None)
    )
    other = layer_inputs(9)
    torch.testing.assert_close(exported.module()(*other), layer(*other))


def test_plain_pytorch_is_exported_as_plain_pytorch():
    class Plain(torch.nn.Module):
        def forward(self, value, *others):
            return fused_ms_deform_attn(value, [(3, 4), (2, 2)], *others, backend="pytorch")

    value, _, *others = random_inputs(components=4)
    exported = torch.export.export(Plain(), (value, *others))
    assert not [node for node in exported.graph.nodes if "d2_psformer" in str(node.target)]
    torch.testing.assert_close(exported.module()(value, *others), Plain()(value, *others))


def test_exported_to_onnx_it_is_grid_sample(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    file = tmp_path / "layer.onnx"
    torch.onnx.export(Layer().eval(), layer_inputs(5), str(file), dynamo=True, opset_version=20)
    assert b"GridSample" in file.read_bytes()


@pytest.mark.parametrize("components", FORMS)
def test_autocast_casts_the_values_alone(backend, components):
    value, shapes, *others = random_inputs(components=components)
    value.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = call((value, shapes, *others), backend)
    exact = call((value.bfloat16(), shapes, *others), backend)
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, exact)
    output.sum().backward()
    assert value.grad.dtype == torch.float32


def test_autocast_leaves_float64_and_takes_offsets_of_either_half_type(backend):
    value, shapes, offsets, logits, reference = random_inputs(components=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        double = random_inputs(dtype=torch.float64, components=2)
        assert call(double, backend).dtype == torch.float64
        halves = (value, shapes, offsets.half(), logits.bfloat16(), reference.bfloat16())
        assert call(halves, backend).dtype == torch.bfloat16


def test_autocast_of_a_whole_layer(backend):
    layer = Layer()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(*layer_inputs(5))
    output.float().sum().backward()
    assert output.dtype == torch.bfloat16
    assert all(parameter.grad.dtype == torch.float32 for parameter in layer.parameters())


def test_the_operator_checks_its_arguments_itself():
    value, shapes, sampling, attention, _ = random_inputs()
    with pytest.raises(ValueError, match="do not add up"):
        registered.ms_deform_attn(value, [3, 3, 2, 2], sampling, attention, None, "auto")
    with pytest.raises(ValueError, match=r"grad_output must be \(2, 5, 12\)"):
        registered.ms_deform_attn_backward(
            torch.ones(2, 5, 11), value, flat(shapes), sampling, attention, None, "auto"
        )


def test_there_is_no_second_derivative():
    skip_without("cpu")
    value, *others = random_inputs()
    value.requires_grad_()
    output = call((value, *others), "cpu").square().sum()
    (gradient,) = torch.autograd.grad(output, value, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        gradient.sum().backward()


def test_results_do_not_share_memory_with_inputs(backend):
    value, shapes, locations, weights, _ = random_inputs()
    before = [x.clone() for x in (value, locations, weights)]
    ms_deform_attn(value, shapes, locations, weights, backend=backend).zero_()
    torch.testing.assert_close([value, locations, weights], before)
