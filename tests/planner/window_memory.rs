//! Memory of training in windows: estimates, budgets and the limits of a device.

use super::windows::{every_step, held, recurrent, simulator, training};
use crate::common::devices;
use nengo_wgpu::network::{Activation, Layer, Network, Node};
use nengo_wgpu::train::{Backprop, Loss, Objective, Over, Training};
use nengo_wgpu::{Data, Device, Error, Fit, MemoryEstimate, Simulator};

fn estimate(
    net: &Network,
    device: &Device,
    minibatch: usize,
    data: &(Data, Data),
    steps: usize,
    backprop: Backprop,
) -> (MemoryEstimate, Simulator) {
    let mut sim = simulator(net, device, minibatch);
    sim.compile(training(every_step(), backprop)).unwrap();
    (sim.memory_estimate(&data.0, &data.1, Some(steps), backprop).unwrap(), sim)
}

#[test]
fn the_estimate_is_the_memory_of_training() {
    let feed_forward = {
        let mut net = Network::new(1);
        let x = net.node("x", Node::Input(3)).unwrap();
        let a = net.layer("hidden", Layer::dense(300).activation(Activation::Relu), x).unwrap();
        let b = net.layer("b", Layer::dense(200).activation(Activation::Softmax), a).unwrap();
        let c = net.layer("c", Layer::dense(2), b).unwrap();
        net.probe("y", c).unwrap();
        net.probe("activity", b).unwrap();
        net
    };
    for device in devices() {
        for (net, examples) in [(&recurrent(5, 0.3), 8), (&recurrent(70, 0.0), 11), (&feed_forward, 9)] {
            for backprop in
                [Backprop::Full, Backprop::Truncated(7), Backprop::Checkpointed(7), Backprop::Checkpointed(4)]
            {
                let data = held(examples);
                let (said, mut sim) = estimate(net, device, 4, &data, 30, backprop);
                sim.fit(&data.0, &data.1, &Fit { n_steps: Some(30), ..Fit::epochs(1) }).unwrap();
                let taken = sim.allocated_bytes();
                assert_eq!(said.bytes, taken, "{backprop:?} on {device}");
            }
        }
    }
}

#[test]
fn with_checkpoints_memory_grows_with_the_borders_alone() {
    let net = recurrent(20, 0.0);
    let of = |steps, backprop| estimate(&net, &devices()[1], 4, &held(4), steps, backprop).0;
    let (short, long) = (of(100, Backprop::Checkpointed(10)), of(10_000, Backprop::Checkpointed(10)));
    assert_eq!((short.windows, long.windows), (10, 1000));
    assert_eq!(short.inside, long.inside);
    assert_eq!((short.shared, short.states), (long.shared, long.states));
    let border = short.borders / 8;
    assert_eq!(long.borders, 998 * border);
    let full = of(10_000, Backprop::Full);
    assert!(full.bytes > 10 * long.bytes, "{} and {}", full.bytes, long.bytes);
    assert_eq!(of(10_000, Backprop::Truncated(10)).borders, 0);
}

#[test]
fn a_budget_chooses_the_window() {
    let net = recurrent(20, 0.0);
    let data = held(4);
    let fit = Fit { n_steps: Some(200), ..Fit::epochs(1) };
    for device in devices() {
        let of = |backprop| estimate(&net, device, 4, &data, 200, backprop).0;
        let full = of(Backprop::Full);
        let take = |budget| {
            let mut sim = simulator(&net, device, 4);
            let mut training = training(every_step(), Backprop::Full).memory_budget(budget);
            training.backprop = None;
            sim.compile(training).unwrap();
            let report = sim.fit(&data.0, &data.1, &fit).map(|r| r[0].loss);
            (sim.allocated_bytes(), report)
        };
        let (whole, loss) = take(full.bytes);
        assert_eq!(whole, full.bytes, "all at once on {device}");
        let (taken, same) = take(full.bytes / 4);
        assert!(taken <= full.bytes / 4 && taken > full.bytes / 10, "{taken} of {} on {device}", full.bytes);
        assert!((loss.unwrap() - same.unwrap()).abs() < 1e-6);
        let least = of(Backprop::Checkpointed(1)).shared;
        // Of all windows of about equal length the longest that fits, though memory does not rise with each step.
        for budget in [full.bytes / 3, full.bytes / 5] {
            let lengths = (2..=200).map(|count: usize| 200_usize.div_ceil(count));
            let fits = |w: &usize| of(Backprop::Checkpointed(*w)).bytes <= budget;
            let longest = lengths.filter(fits).max().unwrap();
            assert_eq!(
                take(budget).0,
                of(Backprop::Checkpointed(longest)).bytes,
                "{longest} steps on {device}"
            );
        }
        let error = take(least).1.unwrap_err().to_string();
        for part in [least.to_string(), full.bytes.to_string(), "no window fits".into()] {
            assert!(error.contains(&part), "'{part}' in: {error}");
        }
        // A window that was asked for is kept or refused, with one that fits.
        let mut sim = simulator(&net, device, 4);
        let asked = training(every_step(), Backprop::Checkpointed(100)).memory_budget(full.bytes / 4);
        sim.compile(asked).unwrap();
        let error = sim.fit(&data.0, &data.1, &fit).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
        let text = error.to_string();
        let window = text.split("say a window of ").nth(1).and_then(|t| t.split(' ').next());
        let window: usize = window.unwrap_or_else(|| panic!("no window in: {text}")).parse().unwrap();
        assert!(window < 100 && of(Backprop::Checkpointed(window)).bytes <= full.bytes / 4, "{text}");
    }
}

/// A device on which a window of the history of `recurrent(20)` may have 64 steps of 4 examples.
fn narrow(device: &Device) -> Device {
    device.clone().with_max_binding(4 * 64 * 4 * 20)
}

#[test]
fn too_large_bindings_are_trained_from_checkpoints_with_a_warning() {
    let net = recurrent(20, 0.0);
    let data = held(4);
    let fit = Fit { n_steps: Some(200), ..Fit::epochs(2) };
    for device in devices() {
        let train = |device: &Device| {
            let mut sim = simulator(&net, device, 4);
            sim.compile(Training { backprop: None, ..training(every_step(), Backprop::Full) }).unwrap();
            let outline = sim.outline_training(&data.0, &data.1, Some(200)).unwrap();
            let reports = sim.fit(&data.0, &data.1, &fit).unwrap();
            let evaluated = sim.evaluate_steps(&data.0, &data.1, Some(200)).unwrap();
            ([reports[0].loss, reports[1].loss, evaluated.loss], sim.warnings(), outline)
        };
        let (whole, none, at_once) = train(device);
        let (cut, told, outline) = train(&narrow(device));
        assert!(whole.iter().zip(&cut).all(|(a, b)| (a - b).abs() < 1e-6), "{whole:?} {cut:?} on {device}");
        assert!(none.is_empty() && at_once.note.is_none(), "{none:?}");
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(outline.note.as_ref(), Some(&told[0]));
        assert!(!told[0].contains('\n'), "{told:?}");
        for part in ["64000 bytes", "20480", "200 steps", "backprop = \"checkpointed\"", "window = "] {
            assert!(told[0].contains(part), "'{part}' in: {}", told[0]);
        }
    }
}

#[test]
fn uncuttable_trainings_are_refused_with_a_size_that_fits() {
    let net = recurrent(20, 0.0);
    let data = held(4);
    let fit = Fit { n_steps: Some(200), ..Fit::epochs(1) };
    for device in devices() {
        let refused = |training: Training| {
            let mut sim = simulator(&net, &narrow(device), 4);
            sim.compile(training).unwrap();
            let error = sim.fit(&data.0, &data.1, &fit).unwrap_err();
            assert!(matches!(error, Error::TooLarge { needed: 64_000, limit: 20_480, .. }), "{error}");
            error.to_string()
        };
        let full = refused(training(every_step(), Backprop::Full));
        assert!(full.contains("with backprop = \"checkpointed\", say a window of "), "{full}");
        let sum = Objective::new().loss("y", Loss::MeanSquared).over(Over::Sum);
        let whole = refused(Training::new(sum, 0.1));
        assert!(whole.contains("'y' sees the sum over time, so the run cannot be cut"), "{whole}");
    }
}
