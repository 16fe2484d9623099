//! Dropout: its share, its mean, and one mask for forward, backward, loops and all devices.

use std::sync::Arc;

use crate::common::{Case, Ready, devices, dims};
use nengo_wgpu::internals::graph::{Dims, Tensor, Type};
use nengo_wgpu::internals::op::{Delay, Dropout};

fn random(c: &Case, seed: u32, step: u32) -> Tensor<'_> {
    c.feed_of(Type::fixed(1, 4), move |i, _| f32::from_bits([seed, 3, step, 0][i]))
}

/// Ones after dropout.
fn ones(dims: Dims, cols: usize, rate: f32, stream: u32, seed: u32, step: u32) -> Ready {
    crate::common::build(dims, |c| {
        let x = c.feed_of(Type::sequence(cols), |_, _| 1.0);
        vec![c.scope.apply(Dropout { rate, stream }, &[x, random(c, seed, step)])]
    })
}

#[test]
fn the_mask_is_that_of_the_formula() {
    for (batch, cols) in [(1, 1), (3, 5), (4, 8), (17, 13), (70_000, 1), (1, 301)] {
        crate::common::check(&format!("{batch} x {cols}"), dims(batch, 1), 1e-6, |c| {
            let x = c.feed(Type::example(cols));
            let random = random(c, 5, 9);
            vec![
                x.dropout(0.5, random),
                x.dropout(0.1, random),
                x.dropout(0.0, random),
                x.dropout(0.9, random),
            ]
        });
    }
}

#[test]
fn the_share_is_dropped_and_the_mean_is_kept() {
    let n = 100_000;
    for rate in [0.1, 0.5, 0.9] {
        let case = ones(dims(n / 10, 2), 5, rate, 1, 77, 2);
        for device in devices() {
            let y = &case.run(device)[0];
            let dropped = y.iter().filter(|x| **x == 0.0).count() as f32 / n as f32;
            let mean = y.iter().map(|x| f64::from(*x)).sum::<f64>() / n as f64;
            // Six standard deviations.
            let limit = 6.0 * (rate * (1.0 - rate) / n as f32).sqrt();
            assert!((dropped - rate).abs() < limit, "{rate} on {device}: {dropped} dropped");
            assert!((mean - 1.0).abs() < f64::from(limit / (1.0 - rate)), "{rate} on {device}: mean {mean}");
        }
    }
}

#[test]
fn masks_of_other_steps_seeds_and_layers_differ() {
    let masks: Vec<Vec<f32>> = [(0, 1, 1), (1, 1, 1), (0, 2, 1), (0, 1, 2)]
        .map(|(stream, seed, step)| {
            ones(dims(100, 1), 10, 0.5, stream, seed, step).run(&devices()[1]).remove(0)
        })
        .into();
    for (i, a) in masks.iter().enumerate() {
        for b in &masks[..i] {
            let same = a.iter().zip(b).filter(|(a, b)| a == b).count();
            assert!((400..600).contains(&same), "{same} of 1000 elements are the same");
        }
    }
}

#[test]
fn both_devices_draw_the_same_mask_over_several_steps() {
    for (batch, cols, steps) in [(1, 1, 7), (3, 5, 4), (4, 8, 3), (5, 7, 9)] {
        let case = ones(dims(batch, steps), cols, 0.4, 3, 11, 6);
        let [a, b] = devices().each_ref().map(|d| case.run(d));
        assert_eq!(a, b, "{batch} x {cols}, {steps} steps");
    }
}

#[test]
fn the_mask_in_a_loop_is_that_of_the_whole_run() {
    for (batch, cols, steps) in [(1, 1, 7), (3, 5, 4), (4, 8, 3), (5, 7, 9)] {
        let whole = ones(dims(batch, steps), cols, 0.4, 3, 11, 6);
        let case = Case::new(dims(batch, steps));
        let output = {
            let one = case.feed_of(Type::sequence(cols), |_, _| 1.0);
            let state = case.scope.open(Arc::new(Delay { backward: false }), one.ty());
            let x = state.scale(0.0) + one;
            let y = case.scope.apply(Dropout { rate: 0.4, stream: 3 }, &[x, random(&case, 11, 6)]);
            case.scope.close(state, y);
            y.id
        };
        let looped = case.ready(vec![output]);
        for device in devices() {
            assert_eq!(looped.run(device), whole.run(device), "{batch} x {cols}, {steps} steps on {device}");
        }
    }
}

#[test]
fn a_window_of_a_run_has_the_mask_of_the_run() {
    let (batch, cols, steps) = (3, 5, 9);
    let whole = ones(dims(batch, steps), cols, 0.4, 3, 11, 6);
    for device in devices() {
        let all = whole.run(device).remove(0);
        for first in [0, 1, 4] {
            let window = crate::common::build(dims(batch, 4), |c| {
                let words = [11, 3, 6, first as u32];
                let random = c.feed_of(Type::fixed(1, 4), move |i, _| f32::from_bits(words[i]));
                let x = c.feed_of(Type::sequence(cols), |_, _| 1.0);
                vec![c.scope.apply(Dropout { rate: 0.4, stream: 3 }, &[x, random])]
            });
            let part = &all[first * batch * cols..][..4 * batch * cols];
            assert_eq!(window.run(device)[0], part, "from step {first} on {device}");
        }
        let reference: Vec<f32> = whole.reference()[0].iter().map(|x| *x as f32).collect();
        let same = reference.iter().zip(&all).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(same, "{device}");
    }
}

#[test]
fn the_gradient_uses_the_mask_of_the_forward_pass() {
    let case = Case::new(dims(7, 3));
    let outputs = {
        let w = case.parameter(1, 5);
        let x = case.feed_of(Type::sequence(5), |_, x| x + 2.0);
        let input = x * w;
        let y = input.dropout(0.5, random(&case, 4, 4));
        let loss = y.sum_all();
        let adjoints =
            nengo_wgpu::internals::builder::gradient::gradient(&case.scope, loss, &[input.id], |_| {
                "x".into()
            });
        let adjoint = adjoints.unwrap()[0].unwrap();
        vec![y.id, input.id, adjoint.id]
    };
    let case = case.ready(outputs);
    for device in devices() {
        let [y, x, dx] = <[Vec<f32>; 3]>::try_from(case.run(device)).unwrap();
        for ((y, x), dx) in y.iter().zip(x).zip(dx) {
            assert_eq!(dx, if *y == 0.0 { 0.0 } else { 2.0 }, "{y} from {x} on {device}");
        }
    }
}
