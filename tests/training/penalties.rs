//! Penalties: their mean over an epoch, their parameters, and those without effect.

use super::reports::{data, examples, fitted, squared, unit};
use crate::common::devices;
use crate::common::messages::Messages;
use nengo_wgpu::network::{Layer, Network, Node};
use nengo_wgpu::train::{Penalty, Select, Training};
use nengo_wgpu::{Fit, Options, Simulator};

/// The reports of gradient descent by hand for each epoch: the mean over steps of the penalty ΣW²/4 on the weights, or the mean
/// over examples of y²/4 on the output, which is part of what is made small.
fn by_hand(minibatch: usize, epochs: usize, on_weights: bool) -> Vec<f64> {
    let (x, target) = examples();
    let (mut w, mut b) = ([0.1, 0.2, 0.3].map(|w: f32| f64::from(w)), 0.0);
    let mut reports = Vec::new();
    for _ in 0..epochs {
        let mut parts = Vec::new();
        for first in (0..10).step_by(minibatch) {
            let rows = first..(first + minibatch).min(10);
            let n = rows.len() as f64;
            let row = |r: usize| [0, 1, 2].map(|c| f64::from(x[[r, c]]));
            let output = |r: usize| row(r).iter().zip(&w).map(|(x, w)| x * w).sum::<f64>() + b;
            let slope = |r: usize| {
                let penalty = if on_weights { 0.0 } else { 0.5 * output(r) };
                (2.0 * (output(r) - f64::from(target[[r, 0]])) + penalty) / n
            };
            match on_weights {
                true => parts.push(w.iter().map(|w| w * w / 4.0).sum::<f64>()),
                false => parts.extend(rows.clone().map(|r| output(r).powi(2) / 4.0)),
            }
            let shrink = if on_weights { 0.5 } else { 0.0 };
            let of_w =
                [0, 1, 2].map(|c| rows.clone().map(|r| slope(r) * row(r)[c]).sum::<f64>() + shrink * w[c]);
            let of_b: f64 = rows.map(slope).sum();
            (0..3).for_each(|c| w[c] -= 0.1 * of_w[c]);
            b -= 0.1 * of_b;
        }
        reports.push(parts.iter().sum::<f64>() / parts.len() as f64);
    }
    reports
}

#[test]
fn the_penalty_of_an_epoch_is_the_mean_over_it() {
    for device in devices() {
        for minibatch in [4, 10] {
            let on_weights = squared().penalty(Select::Weights, Penalty::L2Half(0.5));
            let mut on_activity = squared();
            on_activity.objective = on_activity.objective.activity("p", Penalty::L2Half(0.5));
            for (training, weights) in [(on_weights, true), (on_activity, false)] {
                let reports = fitted(device, training.clone(), minibatch, 8);
                let seldom = Training { report_every: 10, ..training };
                let seldom = fitted(device, seldom, minibatch, 8);
                let want = by_hand(minibatch, 8, weights);
                for ((report, seldom), want) in reports.iter().zip(&seldom).zip(want) {
                    let penalty = report.penalty.unwrap();
                    assert!((penalty - want).abs() < 1e-5, "{device}, {minibatch}: {penalty} for {want}");
                    // Looked at once an epoch; those on activities always.
                    let looked = seldom.penalty.unwrap();
                    assert!(
                        looked > 0.0 && (weights && minibatch < 10 || looked == penalty),
                        "{device}: {looked}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_training_without_penalties_reports_none() {
    let device = &devices()[1];
    for training in [squared(), squared().penalty(Select::Weights, Penalty::Decoupled(0.1))] {
        assert_eq!(fitted(device, training, 4, 1)[0].penalty, None);
    }
    let (x, y) = data();
    let mut sim = Simulator::new(&unit(), device).unwrap();
    sim.compile(squared()).unwrap();
    assert_eq!(sim.evaluate(&x, &y).unwrap().activity, None);
}

/// Parameters that are trained, that are frozen, and that no loss depends on.
pub(super) fn partly_trained() -> Network {
    let mut net = Network::new(1);
    let x = net.node("x", Node::Input(3)).unwrap();
    let frozen = net.layer("frozen", Layer::dense(5).frozen(), x).unwrap();
    let y = net.layer("y", Layer::dense(1), frozen).unwrap();
    net.layer("idle", Layer::dense(7), x).unwrap();
    net.probe("p", y).unwrap();
    net
}

#[test]
fn a_penalty_by_role_takes_what_is_trained_and_used() {
    let said = Messages::of("a penalty by role takes what is trained and used");
    let (x, y) = data();
    for device in devices() {
        let mut sim =
            Simulator::with(&partly_trained(), device, Options { minibatch: 10, ..Options::default() })
                .unwrap();
        for (on, names) in [(Select::Weights, vec!["y/weights"]), (Select::All, vec!["y/weights", "y/bias"])]
        {
            sim.compile(squared().penalty(on.clone(), Penalty::L2Half(1.0))).unwrap();
            let squares: f64 = names.iter().map(|n| sim.l2_norm(n).unwrap().powi(2) / 2.0).sum();
            let idle = sim.parameter("idle/weights").unwrap();
            let penalty = sim.fit(&x, &y, &Fit::epochs(1)).unwrap()[0].penalty.unwrap();
            assert!((penalty - squares).abs() < 1e-5 * squares, "{device}: {penalty} for {squares}");
            assert_eq!(sim.parameter("idle/weights").unwrap(), idle);
            let warnings = sim.warnings();
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            said.text(&warnings[0]);
        }
        assert_eq!(sim.trained().unwrap(), ["y/weights", "y/bias"]);
    }
}

#[test]
fn a_penalty_on_a_frozen_parameter_is_a_warning_and_is_not_counted() {
    let said = Messages::of("a penalty on a frozen parameter is a warning and is not counted");
    let mut sim = Simulator::new(&partly_trained(), &devices()[1]).unwrap();
    let named = |name: &str| squared().penalty(Select::parameter(name), Penalty::L2Half(1.0));
    sim.compile(named("frozen/weights")).unwrap();
    said.text(&sim.warnings()[0]);
    let (x, y) = data();
    assert_eq!(sim.fit(&x, &y, &Fit::epochs(1)).unwrap()[0].penalty, None);
    // A parameter that feeds no loss is trained by a penalty that names it.
    sim.compile(named("idle/weights")).unwrap();
    assert!(sim.warnings().is_empty() && sim.trained().unwrap().contains(&"idle/weights"));
    let before = sim.l2_norm("idle/weights").unwrap();
    assert!(sim.fit(&x, &y, &Fit::epochs(1)).unwrap()[0].penalty.is_some());
    assert!(sim.l2_norm("idle/weights").unwrap() < before);
}
