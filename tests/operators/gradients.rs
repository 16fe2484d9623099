//! Gradients on both devices, and in f64, against central differences of the graph's values in f64.

use std::sync::Arc;

use crate::common::messages::Messages;
use crate::common::{Case, check_gradients, dims};
use nengo_wgpu::internals::builder::gradient::gradient;
use nengo_wgpu::internals::engine::cpu::form::Form;
use nengo_wgpu::internals::expr::Unary;
use nengo_wgpu::internals::graph::{Dims, Tensor, Type};
use nengo_wgpu::internals::op::convolution::{self, Convolution};
use nengo_wgpu::internals::op::filter::lowpass;
use nengo_wgpu::internals::op::pool::{Of, Pool, PoolAdjoint};
use nengo_wgpu::internals::op::scan::Scan;
use nengo_wgpu::internals::op::{Delay, Matmul, Pattern, SparseWeights, Window};
use nengo_wgpu::train::Loss;

/// For each extent, as [`of_type`].
fn in_the_middle(
    what: &str,
    dims: Dims,
    cols: usize,
    f: impl for<'s> Fn(&'s Case, Tensor<'s>) -> Tensor<'s>,
) {
    for ty in [Type::sequence(cols), Type::example(cols), Type::fixed(3, cols)] {
        of_type(what, dims, ty, &f);
    }
}

/// `loss = mean(weight * tanh(f(x * p + 0.3)))`, with another weight for each element.
fn of_type(what: &str, dims: Dims, ty: Type, f: impl for<'s> Fn(&'s Case, Tensor<'s>) -> Tensor<'s>) {
    check_gradients(&format!("{what} of {ty}"), dims, |c| {
        let x = c.feed(ty) * c.parameter(1, ty.cols) + c.scope.constant(0.3);
        let y = f(c, x);
        (y.tanh() * c.feed(y.ty())).mean_all()
    });
}

#[test]
fn elementwise_functions_have_their_derivatives() {
    use Unary::*;
    let smooth =
        [Neg, Relu, LeakyRelu(0.1), LeakyRelu(-0.2), Sigmoid, Tanh, Softplus, Gelu, Exp, Square, Abs];
    for f in smooth.into_iter().chain([Huber(0.4), Identity, Sin, Cos]) {
        in_the_middle(&format!("{f:?}"), dims(3, 2), 5, |_, x| x.unary(f));
    }
    for f in [Log, Sqrt, Reciprocal] {
        in_the_middle(&format!("{f:?}"), dims(3, 2), 5, |c, x| (x.square() + c.scope.constant(0.5)).unary(f));
    }
    // Constant where they are not steep: no gradient comes through, but what goes around does.
    for f in [Step(0.5), Sign, Clamp(0.2), NotNan] {
        in_the_middle(
            &format!("{f:?}"),
            dims(3, 2),
            5,
            |_, x| if f == Clamp(0.2) { x } else { x.unary(f) * x },
        );
    }
}

#[test]
fn binary_functions_have_their_derivatives_through_every_broadcast() {
    for cols in [1, 4, 5] {
        in_the_middle("binary", dims(3, 2), cols, |c, x| {
            let row = c.parameter(1, cols) * c.scope.constant(0.2) + c.scope.constant(1.5);
            let one = c.parameter(1, 1);
            let some = c.feed_of(Type::fixed(1, cols), |i, x| if i % 3 == 1 { f32::NAN } else { x });
            let sum = c.scope.sum(&[x, row, one, x * x, row, x, one]).scale(0.2);
            let power = (x.square() + c.scope.constant(0.5)).pow(row) + x.pow(c.scope.constant(3.0));
            (x * row - one) / row + x.residual(some) * x + sum + power + x.max(one).min(row)
        });
        check_gradients("residual of a target", dims(3, 2), |c| {
            let (x, t) = (c.feed(Type::sequence(cols)), c.feed(Type::example(cols)));
            (x.residual(t * c.parameter(1, cols)).square()).mean_all()
        });
    }
}

#[test]
fn products_have_their_derivatives_in_every_form() {
    for (form, groups) in [(Form::Nt, 1), (Form::Nn, 1), (Form::Nt, 2), (Form::Nn, 2)] {
        let cols = 6;
        in_the_middle(&format!("{form:?} in {groups}"), dims(5, 2), cols, |c, x| {
            let (rows, k) = if form == Form::Nt { (4 * groups, cols / groups) } else { (cols, 3) };
            c.scope.apply(Matmul { form, groups, epilogue: None }, &[x, c.parameter(rows, k)])
        });
    }
    for groups in [1, 2] {
        check_gradients(&format!("Tn in {groups}"), dims(5, 3), |c| {
            let x = c.feed(Type::sequence(6)) * c.parameter(1, 6);
            let y = c.feed(Type::sequence(4)) * c.parameter(1, 4);
            let product = Matmul { form: Form::Tn, groups, epilogue: None };
            c.scope.apply(product, &[x, y]).tanh().square().sum_all()
        });
    }
    check_gradients("a layer of three", dims(7, 1), |c| {
        let mut x = c.feed(Type::example(5));
        for (n, k) in [(9, 5), (8, 9), (3, 8)] {
            x = (x.dot(c.parameter(n, k)) + c.parameter(1, n)).tanh();
        }
        x.square().mean_all()
    });
}

#[test]
fn reductions_have_their_derivatives() {
    in_the_middle("sum over columns", dims(3, 2), 5, |_, x| x.square().sum_cols());
    in_the_middle("sum of all", dims(3, 2), 5, |_, x| x.sum_all() * x);
    in_the_middle("mean of all", dims(3, 2), 5, |_, x| x.square().mean_all() + x);
    in_the_middle("norm", dims(3, 2), 5, |_, x| x / x.norm());
    in_the_middle("sum over rows", dims(3, 2), 5, |_, x| x.reduce_to(Type::fixed(1, 5)));
    check_gradients("sum over steps", dims(3, 4), |c| {
        let x = c.feed(Type::sequence(5)) * c.parameter(1, 5);
        (x.reduce_to(Type::example(5)).tanh() * x).reduce_to(Type::example(1)).square().sum_all()
    });
}

#[test]
fn columns_have_their_derivatives() {
    in_the_middle("slice", dims(3, 2), 5, |_, x| x.slice(1, 3));
    in_the_middle("pad", dims(3, 2), 5, |_, x| x.pad(2, 9));
    check_gradients("concat", dims(3, 2), |c| {
        let x = c.feed(Type::sequence(5)) * c.parameter(1, 5);
        let held = c.feed(Type::example(2)) * c.parameter(1, 2);
        let y = held.concat(&[x, c.parameter(1, 3), held]).tanh();
        (y * c.feed(Type::sequence(12))).mean_all()
    });
    check_gradients("a sum of more than a kernel reads", dims(3, 2), |c| {
        let mut all: Vec<_> = (0..9).map(|_| c.feed(Type::sequence(5)) * c.parameter(1, 5)).collect();
        all.extend([c.parameter(1, 5), c.parameter(1, 1), c.feed(Type::example(5)) * all[0]]);
        c.scope.sum(&all).tanh().square().mean_all()
    });
}

#[test]
fn sparse_products_have_their_derivatives() {
    let entries = [(0, 4), (3, 0), (3, 1), (1, 4), (0, 2), (3, 1), (0, 0)];
    let pattern = Arc::new(Pattern::new(4, 5, &entries).unwrap());
    in_the_middle("sparse", dims(3, 2), 5, |c, x| x.sparse(&pattern, Some(c.parameter(1, 7))));
    in_the_middle("ones", dims(3, 2), 5, |_, x| x.sparse(&pattern, None));
    let select = Arc::new(Pattern::select(5, &[2, 0, 2, 4, 4, 1]).unwrap());
    in_the_middle("a list of columns", dims(3, 2), 5, |_, x| x.sparse(&select, None));
    check_gradients("the adjoint of sparse weights", dims(3, 2), |c| {
        let x = c.feed(Type::sequence(5)) * c.parameter(1, 5);
        let y = c.feed(Type::sequence(4)) * c.parameter(1, 4);
        let weights = c.scope.apply(SparseWeights { pattern: pattern.clone() }, &[y, x]);
        (weights.tanh() * c.feed(Type::fixed(1, 7))).sum_all()
    });
}

#[test]
fn convolutions_have_their_derivatives_in_every_form() {
    use convolution::Form;
    let window = Window {
        image: [1, 3, 4],
        kernel: [1, 3, 2],
        stride: [1, 2, 1],
        before: [0, 1, 0],
        windows: [1, 2, 3],
    };
    for groups in [1, 2] {
        let forward = Convolution { window, large: 2, small: 4, groups, form: Form::Forward };
        let (rows, cols) = forward.weights();
        in_the_middle("convolution", dims(2, 2), 24, |c, x| x.convolve(forward, c.parameter(rows, cols)));
        let back = Convolution { form: Form::Transposed, ..forward };
        in_the_middle("transposed", dims(2, 2), 24, |c, x| x.convolve(back, c.parameter(rows, cols)));
        check_gradients("kernel", dims(2, 2), |c| {
            let x = c.feed(Type::sequence(24)) * c.parameter(1, 24);
            let y = c.feed(Type::sequence(24)) * c.parameter(1, 24);
            let weights = c.scope.apply(Convolution { form: Form::Kernel, ..forward }, &[y, x]);
            (weights.tanh() * c.feed(Type::fixed(rows, cols))).sum_all()
        });
    }
}

#[test]
fn pools_have_their_derivatives() {
    // Windows that overlap, and reach over the edge on both sides.
    let window = Window {
        image: [1, 3, 4],
        kernel: [1, 3, 2],
        stride: [1, 2, 1],
        before: [0, 1, 0],
        windows: [1, 2, 4],
    };
    for of in [Of::Average, Of::Max] {
        let pool = Pool { window, channels: 2, of };
        in_the_middle(&format!("{of:?}"), dims(2, 2), 24, |_, x| x.pool(pool));
    }
    let mean = PoolAdjoint(Pool { window, channels: 2, of: Of::Average });
    in_the_middle("the adjoint of a mean", dims(2, 2), 16, |c, x| c.scope.apply(mean, &[x]));
}

#[test]
fn softmax_and_cross_entropy_have_their_derivatives() {
    in_the_middle("softmax", dims(3, 2), 5, |_, x| x.softmax());
    for cols in [2, 5, 8] {
        check_gradients("cross entropy", dims(4, 2), |c| {
            let x = c.feed(Type::sequence(cols)) * c.parameter(1, cols) + c.parameter(1, cols);
            let index = c.feed_of(Type::sequence(1), |i, _| (i % cols) as f32);
            let soft = c.feed_of(Type::example(cols), |_, x| x.abs());
            let some = c.feed_of(Type::sequence(cols), |i, x| if i % 3 == 1 { f32::NAN } else { x.abs() });
            let none = c.feed_of(Type::example(1), |i, _| if i == 1 { f32::NAN } else { 1.0 });
            let weight = c.feed(Type::sequence(1));
            let losses = [index, soft, some, none].map(|t| (x.cross_entropy(t) * weight).mean_all());
            c.scope.sum(&losses)
        });
    }
}

#[test]
fn a_target_that_depends_on_a_parameter_is_refused_with_its_name() {
    let said = Messages::of("a target that depends on a parameter is refused with its name");
    let case = Case::new(dims(2, 1));
    let p = case.parameter(1, 3);
    let loss = case.feed(Type::example(3)).cross_entropy(p).mean_all();
    said.error(gradient(&case.scope, loss, &[p.id], |_| "'dense/W'".into()));
}

#[test]
fn dropout_has_its_derivative_in_a_run_of_one_step() {
    check_gradients("dropout", dims(7, 1), |c| {
        let x = (c.feed(Type::example(5)) * c.parameter(1, 5)).tanh();
        let random = c.feed_of(Type::fixed(1, 4), |i, _| f32::from_bits(i as u32 + 3));
        x.dropout(0.4, random).square().mean_all()
    });
}

#[test]
fn filters_and_delays_have_their_derivatives() {
    for (delays, backward) in [(false, false), (false, true), (true, false), (true, true)] {
        let filter = Scan { backward, ..lowpass(0.7, 0.4, delays) };
        for ty in [Type::sequence(5), Type::example(5), Type::fixed(1, 5)] {
            of_type(&format!("{filter:?}"), dims(3, 6), ty, |_, x| x.filter(&filter).filter(&filter));
        }
    }
    for backward in [false, true] {
        check_gradients(&format!("delay, backward {backward}"), dims(3, 6), |c| {
            let x = c.feed(Type::sequence(5)) * c.parameter(1, 5);
            let y = c.scope.apply(Delay { backward }, &[x]);
            (y.tanh() * x).mean_all()
        });
    }
    for ty in [Type::sequence(5), Type::example(5), Type::fixed(1, 5)] {
        of_type("delay", dims(3, 6), ty, |_, x| x.delay());
    }
}

#[test]
fn the_last_step_has_its_derivative() {
    for (batch, cols, steps) in [(1, 1, 1), (3, 5, 6), (2, 4, 3), (2, 4, 1)] {
        of_type(
            &format!("{batch} x {cols}, {steps} steps"),
            dims(batch, steps),
            Type::sequence(cols),
            |c, x| x.tanh().last() * c.feed(Type::example(cols)),
        );
    }
    check_gradients("the last step of a recurrent network", dims(3, 7), |c| {
        let y = recurrent(c, 5, None);
        y.last().square().mean_all()
    });
}

/// A network with a recurrent connection: its output at each step.
fn recurrent<'s>(c: &'s Case, n: usize, filter: Option<Scan>) -> Tensor<'s> {
    let (x, w) = (c.feed(Type::sequence(3)), c.parameter(n, n));
    let (input, bias) = (c.parameter(n, 3), c.parameter(1, n));
    let ty = Type::sequence(n);
    let state = match filter {
        Some(filter) => c.scope.open(Arc::new(filter), ty),
        None => c.scope.open(Arc::new(Delay { backward: false }), ty),
    };
    let y = (x.dot(input) + state + bias).tanh();
    c.scope.close(state, y.dot(w).scale(1.0 / n as f32));
    y
}

#[test]
fn recurrent_weights_have_their_gradients_through_many_steps() {
    let filter = lowpass(0.8, 0.2, true);
    for (batch, n, steps) in [(1, 1, 5), (3, 5, 8), (2, 4, 20)] {
        for filter in [None, Some(filter.clone())] {
            let what = format!("{filter:?}, {n} units, {batch} examples, {steps} steps");
            check_gradients(&what, dims(batch, steps), |c| {
                let y = recurrent(c, n, filter.clone()).dot(c.parameter(2, n));
                y.residual(c.feed(Type::sequence(2))).square().mean_all()
            });
        }
    }
}

#[test]
fn every_operator_has_its_derivative_in_a_loop() {
    check_gradients("a loop of everything", dims(3, 6), |c| {
        let x = c.feed(Type::sequence(5));
        let state = c.scope.open(Arc::new(Delay { backward: false }), x.ty());
        let inner = state.filter(&lowpass(0.5, 0.5, false));
        let later = inner.filter(&lowpass(0.6, 0.4, true));
        let mixed = (x + inner * c.parameter(1, 5) + later).softmax();
        let wide = mixed.concat(&[c.feed(Type::example(1)), state]).dot(c.parameter(4, 11));
        let some = c.feed(Type::sequence(4)).abs();
        let norm = wide.square().sum_cols() + wide.cross_entropy(some).scale(0.1);
        let pattern = Arc::new(Pattern::new(5, 4, &[(0, 3), (1, 0), (1, 2), (4, 3), (2, 0)]).unwrap());
        let some_of = wide.sparse(&pattern, Some(c.parameter(1, 5)));
        let window = Window {
            image: [1, 1, 5],
            kernel: [1, 1, 3],
            stride: [1, 1, 1],
            before: [0, 0, 1],
            windows: [1, 1, 5],
        };
        let form = convolution::Form::Forward;
        let same = Convolution { window, large: 1, small: 1, groups: 1, form };
        let pool = Pool { window, channels: 1, of: Of::Max };
        let some_of = some_of + state.convolve(same, c.parameter(1, 3)).tanh() + mixed.pool(pool);
        let y = (wide.slice(1, 2).concat(&[wide.tanh().slice(0, 3)]) / (norm + c.scope.constant(1.0))
            + some_of)
            .sigmoid();
        c.scope.close(state, y);
        (y * c.feed(Type::sequence(5))).mean_all()
    });
    check_gradients("two loops in a row, each with its own delay", dims(2, 7), |c| {
        let filter = lowpass(0.3, 0.7, true);
        let first = recurrent(c, 3, Some(filter.clone()));
        let second = c.scope.open(Arc::new(filter.clone()), Type::sequence(3));
        let y = (first.dot(c.parameter(3, 3)) + second).tanh();
        c.scope.close(second, y.dot(c.parameter(3, 3)).scale(0.5));
        (y * first).mean_all()
    });
    check_gradients("a cycle through two delays, with groups", dims(2, 9), |c| {
        let state = c.scope.open(Arc::new(Delay { backward: false }), Type::sequence(4));
        let y = (c.feed(Type::sequence(4)) + state.dot_groups(c.parameter(4, 2), 2)).tanh();
        c.scope.close(state, y.delay().scale(0.5) + y * c.parameter(1, 4));
        y.square().mean_all()
    });
}

/// A narrow signal that a wide population of `groups` parts keeps up: wide values follow from narrow ones.
fn population<'s>(c: &'s Case, groups: usize, smooth: Unary) -> Tensor<'s> {
    let (narrow, wide) = (2 * groups, 12 * groups);
    let filter = lowpass(0.7, 0.3, true);
    let signal = c.scope.open(Arc::new(filter), Type::sequence(narrow));
    let currents = signal.dot_groups(c.parameter(wide, 2), groups) + c.parameter(1, wide);
    // A derivative that needs the currents and not only what follows from them.
    let activity = (currents * currents.unary(smooth)).tanh();
    let decoded = activity.dot_groups(c.parameter(narrow, 12), groups).scale(0.2);
    c.scope.close(signal, decoded + c.feed(Type::sequence(narrow)));
    decoded
}

#[test]
fn values_computed_again_for_the_gradient_are_the_same() {
    for (batch, groups, steps) in [(1, 1, 4), (3, 2, 7), (5, 1, 6)] {
        for smooth in [Unary::Sigmoid, Unary::Softplus] {
            check_gradients(&format!("{batch} examples, {groups} groups"), dims(batch, steps), |c| {
                let y = population(c, groups, smooth);
                (y * c.feed(y.ty())).mean_all()
            });
        }
    }
}

#[test]
fn transposed_weights_have_their_gradient() {
    for (groups, rows, cols) in [(1, 5, 3), (3, 2, 4), (1, 1, 1)] {
        check_gradients(&format!("transpose in {groups} groups"), dims(4, 3), |c| {
            let w = c.parameter(groups * rows, cols);
            let x = c.feed(Type::sequence(groups * rows));
            x.dot_groups((w * w).transpose(groups), groups).tanh().mean_all()
        });
    }
}

#[test]
fn every_loss_has_its_gradient() {
    for loss in [Loss::MeanSquared, Loss::MeanAbsolute, Loss::Huber(0.3), Loss::CrossEntropy] {
        check_gradients(&format!("{loss:?}"), dims(4, 3), |c| {
            let y = c.feed(Type::sequence(3)).dot(c.parameter(5, 3)) + c.parameter(1, 5);
            let targets = c.feed_of(Type::sequence(5), |i, x| if i % 6 == 2 { f32::NAN } else { x.abs() });
            loss.tensor(y, targets)
        });
    }
}
