//! Every operator on an adapter and on the CPU twin against its formula in f64.

use std::sync::Arc;

use crate::common::{Case, check, dims};
use nengo_wgpu::internals::expr::Expr;
use nengo_wgpu::internals::graph::{Tensor, Type};
use nengo_wgpu::internals::op::convolution::{Convolution, Form};
use nengo_wgpu::internals::op::filter::lowpass;
use nengo_wgpu::internals::op::pool::{Of, Pool};
use nengo_wgpu::internals::op::scan::Scan;
use nengo_wgpu::internals::op::{Pattern, Reduce, SparseWeights, Window};

/// Rows and columns: one, odd, whole vectors, and around the sizes of tiles.
pub(super) const SIZES: [(usize, usize); 9] =
    [(1, 1), (1, 5), (3, 5), (4, 8), (7, 3), (13, 1), (5, 64), (65, 17), (63, 100)];

/// The values of a graph in which `f` is on a cycle: what it makes at a step is added, halved, to its input at the next.
fn in_loop<'s>(x: Tensor<'s>, f: impl Fn(Tensor<'s>) -> Tensor<'s>) -> Tensor<'s> {
    let delay = std::sync::Arc::new(nengo_wgpu::internals::op::Delay { backward: false });
    let state = x.scope.open(delay, x.ty());
    let y = f(x + state.scale(0.5));
    x.scope.close(state, y);
    y
}

#[test]
fn rows_past_the_limit_of_workgroups_are_computed() {
    check("70,000 rows", dims(70_000, 1), 1e-5, |c| {
        let x = c.feed(Type::example(3));
        let w = c.parameter(5, 3);
        let class = c.feed_of(Type::example(1), |i, _| (i % 3) as f32);
        let y = x.dot(w);
        let window = Window {
            image: [1, 1, 3],
            kernel: [1, 1, 2],
            stride: [1, 1, 1],
            before: [0, 0, 0],
            windows: [1, 1, 2],
        };
        let line = Convolution { window, large: 1, small: 1, groups: 1, form: Form::Forward };
        vec![
            x.tanh(),
            x + c.parameter(1, 3),
            y,
            y.slice(1, 3),
            x.softmax(),
            x.cross_entropy(class),
            x.is_class(class),
            x.sum_cols(),
            x.concat(&[y]),
            x.square().mean_all(),
            x.reduce_to(Type::fixed(1, 3)),
            x.sparse(&pattern(5, 3), None),
            c.scope.apply(SparseWeights { pattern: pattern(5, 3) }, &[y, x]),
            x.convolve(line, c.parameter(1, 2)),
            x.pool(Pool { window, channels: 1, of: Of::Max }),
            x.slice(0, 2).convolve(Convolution { form: Form::Transposed, ..line }, c.parameter(1, 2)),
            c.scope.apply(Convolution { form: Form::Kernel, ..line }, &[x.slice(1, 2), x]),
        ]
    });
    check("35,000 steps of 2", dims(2, 35_000), 1e-4, |c| {
        let x = c.feed(Type::sequence(3));
        let filter = lowpass(0.9, 0.1, true);
        vec![x.relu(), x.reduce_to(Type::example(3)), x.delay(), x.filter(&filter), x.dot(c.parameter(2, 3))]
    });
}

#[test]
fn reductions_to_every_type_agree() {
    for (batch, cols) in SIZES {
        for steps in [1, 5] {
            check(&format!("{batch} x {cols}, {steps} steps"), dims(batch, steps), 1e-5, |c| {
                let x = c.feed_of(Type::sequence(cols), |_, x| x + 0.5);
                let e = c.feed_of(Type::example(cols), |_, x| x + 0.5);
                let m = c.parameter(batch, cols).square();
                let product = Reduce {
                    expr: Expr::binary(nengo_wgpu::internals::expr::Binary::Mul),
                    to: Type::fixed(1, cols),
                    scale: 0.5,
                };
                vec![
                    x.sum_all(),
                    x.mean_all(),
                    x.norm(),
                    x.sum_cols(),
                    x.reduce_to(Type::fixed(1, cols)),
                    x.reduce_to(Type::fixed(1, 1)),
                    x.reduce_to(Type::example(cols)),
                    x.reduce_to(Type::example(1)),
                    e.reduce_to(Type::fixed(1, cols)),
                    e.sum_cols(),
                    m.sum_cols(),
                    m.reduce_to(Type::fixed(1, cols)),
                    m.mean_all(),
                    c.scope.apply(product, &[x, e]),
                    (x * e).sum_all(),
                    x.square().sum_cols() * x,
                ]
            });
        }
    }
}

#[test]
fn long_reductions_agree() {
    for (rows, cols) in [(16_384, 1), (16_385, 1), (4099, 7), (1, 50_001), (300, 300), (2050, 64)] {
        check(&format!("{rows} x {cols}"), dims(rows, 1), 1e-5, |c| {
            let x = c.feed_of(Type::example(cols), |_, x| x + 0.3);
            vec![
                x.sum_all(),
                x.mean_all(),
                x.reduce_to(Type::fixed(1, cols)),
                x.sum_cols(),
                x.square().sum_all(),
            ]
        });
    }
}

#[test]
fn slices_pads_and_concatenations_agree() {
    for (batch, cols) in SIZES {
        check(&format!("{batch} x {cols}"), dims(batch, 3), 1e-6, |c| {
            let x = c.feed(Type::sequence(cols));
            let e = c.feed(Type::example(3));
            let row = c.feed(Type::fixed(1, 5));
            let pad = |start, more| x.pad(start, cols + start + more);
            vec![
                x.slice(0, cols),
                x.slice(cols - 1, 1),
                x.slice(cols / 3, cols.div_ceil(2)),
                pad(0, 3),
                pad(5, 0),
                pad(4, 1),
                x.concat(&[e]),
                row.concat(&[x, e, x]),
                e.concat(&[row]),
                c.parameter(7, cols).slice(cols / 2, 1),
            ]
        });
    }
}

/// A matrix with about a third of its entries, some of them twice.
fn pattern(rows: usize, cols: usize) -> Arc<Pattern> {
    let all = (0..rows * cols).filter(|e| (e * e + e / 3) % 3 == 0).map(|e| (e / cols, e % cols));
    let twice = (0..rows * cols).step_by(7).map(|e| (e % rows, e / rows));
    Arc::new(Pattern::new(rows, cols, &all.chain(twice).collect::<Vec<_>>()).unwrap())
}

#[test]
fn sparse_products_agree() {
    for (batch, cols) in SIZES {
        for rows in [1, 6, 33] {
            check(&format!("{batch} x {cols} to {rows}"), dims(batch, 3), 1e-5, |c| {
                let pattern = pattern(rows, cols);
                let weights = c.parameter(1, pattern.entries);
                let reversed: Vec<usize> = (0..rows).map(|i| (cols - 1) - i % cols).collect();
                let select = Arc::new(Pattern::select(cols, &reversed).unwrap());
                let adjoint = SparseWeights { pattern: pattern.clone() };
                let (x, y) = (c.feed(Type::sequence(cols)), c.feed(Type::sequence(rows)));
                let (held, matrix) = (c.feed(Type::example(cols)), c.parameter(5, cols));
                vec![
                    x.sparse(&pattern, Some(weights)),
                    held.sparse(&pattern, Some(weights)),
                    matrix.sparse(&pattern, Some(weights)),
                    x.sparse(&pattern, None),
                    y.sparse(&Arc::new(pattern.transposed()), Some(weights)),
                    held.sparse(&select, None),
                    y.sparse(&Arc::new(select.transposed()), None),
                    c.scope.apply(adjoint.clone(), &[y, x]),
                    c.scope.apply(adjoint, &[c.feed(Type::example(rows)), held]),
                ]
            });
        }
    }
}

#[test]
fn softmax_agrees_also_for_large_logits() {
    for (batch, cols) in SIZES {
        check(&format!("{batch} x {cols}"), dims(batch, 2), 1e-5, |c| {
            let x = c.feed_of(Type::sequence(cols), |i, x| if i % 7 == 0 { 90.0 * x } else { 3.0 * x });
            vec![x.softmax(), c.feed(Type::example(cols)).softmax(), c.parameter(5, cols).softmax()]
        });
    }
}

#[test]
fn cross_entropy_agrees_with_indices_weights_and_missing_targets() {
    for (batch, cols) in SIZES {
        check(&format!("{batch} x {cols}"), dims(batch, 3), 2e-5, |c| {
            let x = c.feed_of(Type::sequence(cols), |_, x| 4.0 * x);
            let held = c.feed_of(Type::example(cols), |_, x| 4.0 * x);
            let class = |i: usize| (i * 7 % cols) as f32;
            let index = c.feed_of(Type::sequence(1), |i, _| class(i));
            let held_index = c.feed_of(Type::example(1), |i, _| class(i));
            let hot = c.feed_of(Type::sequence(cols), |i, _| f32::from(i % cols == (i / cols) % cols));
            let soft = c.feed_of(Type::example(cols), |_, x| x.abs());
            let some = c.feed_of(Type::sequence(cols), |i, x| if i % 4 == 1 { f32::NAN } else { x.abs() });
            let mut all = vec![
                x.cross_entropy(hot),
                x.cross_entropy(soft),
                x.cross_entropy(some),
                held.cross_entropy(hot),
                held.cross_entropy(soft),
            ];
            if cols > 1 {
                let none = c.feed_of(Type::sequence(1), |i, _| if i % 2 == 0 { f32::NAN } else { class(i) });
                all.extend([x.cross_entropy(index), x.cross_entropy(held_index), held.cross_entropy(index)]);
                all.push(x.cross_entropy(none));
            }
            all
        });
    }
}

#[test]
fn accuracy_agrees_with_indices_and_weights() {
    for (batch, cols) in SIZES {
        check(&format!("{batch} x {cols}"), dims(batch, 2), 0.0, |c| {
            let x = c.feed(Type::sequence(cols));
            let hot = c.feed(Type::example(cols));
            let index = c.feed_of(Type::sequence(1), |i, _| (i % cols) as f32);
            let same = c.feed_of(Type::example(cols), |_, _| 0.5);
            let mut all = vec![x.is_class(hot), same.is_class(hot), x.is_class(x)];
            if cols > 1 {
                all.extend([x.is_class(index), hot.is_class(index)]);
            }
            all
        });
    }
}

#[test]
fn delays_and_filters_agree_in_both_directions_of_time() {
    for (batch, cols) in [(1, 1), (3, 5), (4, 8), (65, 3), (1, 100)] {
        for steps in [1, 2, 9, 40] {
            check(&format!("{batch} x {cols}, {steps} steps"), dims(batch, steps), 1e-5, |c| {
                let x = c.feed(Type::sequence(cols));
                let held = c.feed(Type::example(cols));
                let row = c.parameter(1, cols);
                let mut all = vec![x.delay(), x.delay().delay().relu(), held.delay(), row.delay()];
                all.push(x.scope.apply(nengo_wgpu::internals::op::Delay { backward: true }, &[x]));
                for (delays, backward) in [(false, false), (false, true), (true, false), (true, true)] {
                    let filter = Scan { backward, ..lowpass(0.8, 0.3, delays) };
                    all.extend([x, held, row].map(|v| v.filter(&filter)));
                    all.push(x.tanh().filter(&filter).filter(&filter) * held);
                }
                all
            });
        }
    }
}

#[test]
fn operators_in_a_loop_over_time_agree() {
    for (batch, cols) in [(1, 1), (3, 5), (4, 8), (5, 4), (2, 67), (33, 36)] {
        let make = |c: &'_ Case| -> Vec<nengo_wgpu::internals::graph::ValueId> {
            let x = c.feed(Type::sequence(cols));
            let held = c.feed(Type::example(cols));
            let row = c.parameter(1, cols);
            let column = c.feed(Type::sequence(1));
            let class = c.feed_of(Type::sequence(1), |i, _| (i % cols) as f32);
            let (w, v) = (c.parameter(cols, cols), c.parameter(2 * cols + 1, cols));
            let small = 1.0 / cols as f32;
            // Three windows' elements in the middle, two at an end.
            let window = Window {
                image: [1, 1, cols],
                kernel: [1, 1, 3],
                stride: [1, 1, 1],
                before: [0, 0, 1],
                windows: [1, 1, cols],
            };
            let same = Convolution { window, large: 1, small: 1, groups: 1, form: Form::Forward };
            let back = Convolution { form: Form::Transposed, ..same };
            let square = pattern(cols, cols);
            let turned: Vec<usize> = (0..cols).map(|i| (3 * i + 1) % cols).collect();
            let select = Arc::new(Pattern::select(cols, &turned).unwrap());
            let filter = |delays| lowpass(0.7, 0.3, delays);
            let all = [
                in_loop(x, |x| x.tanh()),
                in_loop(x, |x| (x * held + row * column).sigmoid()),
                in_loop(x, |x| x.dot(w).scale(small)),
                in_loop(x, |x| (x.dot(w).scale(small) + row * held - column).relu()),
                in_loop(x, |x| x.dot(v).tanh().dot(c.parameter(cols, 2 * cols + 1)).scale(small)),
                in_loop(x, |x| x.softmax()),
                in_loop(x, |x| x.sum_cols().scale(small) * row),
                in_loop(x, |x| x.square().sum_cols().scale(small) + held),
                in_loop(x, |x| x.slice(cols - 1, 1).concat(&[x]).slice(0, cols)),
                in_loop(x, |x| held.concat(&[x, row]).slice(cols / 2, cols)),
                in_loop(x, |x| x.pad(1, cols + 1).slice(0, cols)),
                in_loop(x, |x| x.sparse(&square, Some(c.parameter(1, square.entries))).scale(small)),
                in_loop(x, |x| (x + held.sparse(&square, None)).sparse(&select, None)),
                in_loop(x, |x| x.convolve(same, c.parameter(1, 3)).tanh()),
                in_loop(x, |x| x.pool(Pool { window, channels: 1, of: Of::Average })),
                in_loop(x, |x| (x + held).pool(Pool { window, channels: 1, of: Of::Max }).tanh()),
                in_loop(x, |x| {
                    (x + held.convolve(same, c.parameter(1, 3))).convolve(back, c.parameter(1, 3)).tanh()
                }),
                in_loop(x, |x| x.filter(&filter(false)) + row),
                in_loop(x, |x| x.filter(&filter(true)) * held),
                in_loop(x, |x| x.delay().scale(0.5) + x),
                in_loop(x, |x| if cols > 1 { x.cross_entropy(class).scale(0.1) + row } else { x }),
                in_loop(x, |x| x.cross_entropy(held.abs()).scale(0.1) + x.is_class(held) * row),
            ];
            all.iter().flat_map(|y| [y.id, y.square().id]).collect()
        };
        let case = Case::new(dims(batch, 6));
        let outputs = make(&case);
        case.ready(outputs).check(&format!("{batch} x {cols}"), 3e-5);
    }
}
