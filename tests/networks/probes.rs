//! Rows that probes record: every k-th step wherever windows are cut, and window by window without keeping the run.

use std::sync::Arc;

use crate::common::messages::Messages;
use crate::common::{devices, dims};
use ndarray::{Array3, Axis, s};
use nengo_wgpu::internals::graph::Type;
use nengo_wgpu::internals::op::Delay;
use nengo_wgpu::io::npy::{NpyFile, NpzFile};
use nengo_wgpu::network::{
    Activation, Connection, Init, Layer, Network, Node, ProbeId, Slice, Synapse, Target, Transform,
};
use nengo_wgpu::train::{Loss, Objective, Training};
use nengo_wgpu::{Data, Device, Error, Fit, Options, Simulator};

/// A wave, a recurrent layer and a constant; each with a probe that records all steps, and one every `every` seconds.
fn network(every: f64) -> Network {
    let mut net = Network::new(3);
    let wave = net.node("wave", Node::function(2, |t| vec![(40.0 * t).sin() as f32, t as f32])).unwrap();
    let constant = net.node("constant", Node::Constant(vec![2.0, 3.0])).unwrap();
    let layer = net.unconnected_layer("layer", Layer::dense(3).activation(Activation::Tanh), 2).unwrap();
    net.connect(wave, layer, Connection::new()).unwrap();
    let back = Connection::new().transform(Transform::Dense(Init::Glorot)).synapse(Synapse::Lowpass(0.005));
    net.connect(layer, layer, back).unwrap();
    let filtered = Target::Output(layer, Some(Synapse::Lowpass(0.01)));
    let plain = |object| Target::Output(object, None);
    for (name, target) in [
        ("layer", plain(layer)),
        ("wave", plain(wave)),
        ("constant", plain(constant)),
        ("filtered", filtered),
    ] {
        net.add_probe(&format!("all of {name}"), target.clone()).unwrap();
        net.probe_every(&format!("some of {name}"), target, every).unwrap();
    }
    net
}

fn with(net: &Network, device: &Device) -> Simulator {
    Simulator::with(net, device, Options { minibatch: 2, ..Options::default() }).unwrap()
}

/// Steps k, 2k, … of all.
fn every(all: &Array3<f32>, k: usize) -> Array3<f32> {
    let first = (k - 1).min(all.len_of(Axis(1)));
    all.slice(s![.., first..; k, ..]).to_owned()
}

#[test]
fn a_sampling_probe_records_steps_k_and_2k_wherever_windows_end() {
    for (k, seconds) in [(1, 0.001), (3, 0.003), (7, 0.007), (40, 0.04)] {
        let net = network(seconds);
        for device in devices() {
            for runs in [&[22][..], &[1; 22], &[5, 5, 5, 7], &[3, 19], &[2, 1, 6, 13]] {
                for limit in [None, Some(4)] {
                    let mut sim = with(&net, device);
                    sim.limit_windows(limit).unwrap();
                    for &steps in runs {
                        sim.run_steps(steps, &Data::new()).unwrap();
                    }
                    let probes: Vec<ProbeId> = net.probe_ids().collect();
                    for pair in probes.chunks(2) {
                        let (all, some) = (sim.data(pair[0]).unwrap(), sim.data(pair[1]).unwrap());
                        assert_eq!(all.len_of(Axis(1)), 22);
                        assert_eq!(some.len_of(Axis(1)), 22 / k);
                        let name = net.probe_name(pair[1]);
                        assert_eq!(some, every(&all, k), "{name}, k = {k}, runs {runs:?} on {device}");
                    }
                }
            }
        }
    }
}

#[test]
fn predictions_sample_from_their_start_and_losses_use_the_recorded_rows() {
    let mut net = Network::new(0);
    let x = net.node("x", Node::Input(2)).unwrap();
    let y = net.layer("y", Layer::dense(2), x).unwrap();
    let all = net.probe("all", y).unwrap();
    let some = net.probe_every("some", Target::Output(y, None), 0.004).unwrap();
    let inputs = Data::new()
        .with("x", Array3::from_shape_vec((3, 10, 2), crate::common::uniform(1, 60, -1.0, 1.0)).unwrap());
    let targets = Data::new().with("some", Array3::zeros((3, 2, 2)));
    for device in devices() {
        let mut sim = with(&net, device);
        let out = sim.predict(&inputs).unwrap();
        assert_eq!(out[&some], every(&out[&all], 4), "{device}");
        let objective =
            nengo_wgpu::train::Objective::new().loss("some", nengo_wgpu::train::Loss::MeanSquared);
        sim.compile(nengo_wgpu::train::Training::new(objective, 0.1)).unwrap();
        let loss = sim.evaluate(&inputs, &targets).unwrap().loss;
        let mean = out[&some].iter().map(|x| f64::from(x * x)).sum::<f64>() / out[&some].len() as f64;
        assert!((loss - mean).abs() < 1e-5 * mean, "{loss} for {mean} on {device}");
    }
}

#[test]
fn a_probe_of_some_dimensions_gives_these_of_all() {
    let said = Messages::of("a probe of some dimensions gives these of all");
    let slices = || [Slice::from(1), Slice::from([2, 0]), Slice::stepped(None, None, -2), Slice::from(0..2)];
    let columns: [&[usize]; 4] = [&[1], &[2, 0], &[2, 0], &[0, 1]];
    let mut net = network(0.003);
    let layer = net.find("layer").unwrap();
    for (i, slice) in slices().into_iter().enumerate() {
        let filtered = Target::Output(layer, Some(Synapse::Lowpass(0.01)));
        let all = net.add_probe(&format!("slice {i}"), filtered.clone()).unwrap();
        let some = net.probe_every(&format!("some of slice {i}"), filtered, 0.003).unwrap();
        for probe in [all, some] {
            net.slice_probe(probe, slice.clone()).unwrap();
        }
    }
    let [input, second] = ["input", "second"].map(|p| net.add_probe(p, Target::Input(layer)).unwrap());
    net.slice_probe(second, 1).unwrap();
    let constant = net.find_probe("all of constant").unwrap();
    net.slice_probe(constant, 1).unwrap();
    for device in devices() {
        let mut sim = with(&net, device);
        sim.run_steps(22, &Data::new()).unwrap();
        let read = |name: &str| sim.data(net.find_probe(name).unwrap()).unwrap();
        for (i, columns) in columns.iter().enumerate() {
            assert_eq!(read(&format!("slice {i}")), read("all of filtered").select(Axis(2), columns));
            assert_eq!(
                read(&format!("some of slice {i}")),
                read("some of filtered").select(Axis(2), columns)
            );
        }
        assert_eq!(sim.data(second).unwrap(), sim.data(input).unwrap().select(Axis(2), &[1]));
        assert!(read("all of constant").iter().all(|x| *x == 3.0));

        // A loss on some dimensions has targets for these alone.
        let objective = Objective::new().loss("slice 1", Loss::MeanSquared);
        sim.compile(Training::new(objective, 0.5)).unwrap();
        let targets = Data::new().with("slice 1", Array3::from_elem((2, 22, 2), 0.5));
        let reports = sim.fit(&Data::new(), &targets, &Fit::epochs(5)).unwrap();
        assert!(reports[4].loss < reports[0].loss, "{reports:?}");
    }
    let text = net.slice_probe(second, 2).unwrap_err().to_string();
    assert_eq!(text, "probe 'second': it reads 'layer[2]': index 2 is outside of its 2 dimensions");
    let norm = net.add_probe("norm", Target::Norm("layer/weights".into())).unwrap();
    said.error(net.slice_probe(norm, 0));
}

#[test]
fn only_the_sampled_rows_are_kept_on_the_device() {
    let rows = |every: Option<f64>| {
        let mut net = Network::new(0);
        let x = net.node("x", Node::function(64, |t| vec![t as f32; 64])).unwrap();
        let target = Target::Output(x, Some(Synapse::Lowpass(0.01)));
        match every {
            Some(seconds) => net.probe_every("p", target, seconds).unwrap(),
            None => net.add_probe("p", target).unwrap(),
        };
        let sim = with(&net, &devices()[1]);
        let outline = sim.outline(1000).unwrap();
        let stages = &outline.parts[0].program.stages;
        stages.last().map(|s| (s.operators.clone(), s.rows)).unwrap()
    };
    assert_eq!(rows(Some(0.1)), (vec!["sample"], 2 * 10));
    assert_ne!(rows(None).0, ["sample"]);
}

#[test]
fn the_sample_operator_gives_rows_by_stride() {
    for (batch, steps, every, phase) in
        [(3, 10, 3, 2), (1, 7, 7, 0), (2, 7, 7, 6), (5, 33, 4, 1), (2, 3, 9, 8)]
    {
        crate::common::check(
            &format!("every {every} of {steps}, phase {phase}"),
            dims(batch, steps),
            0.0,
            |c| {
                let x = c.feed(Type::sequence(5));
                let phase = c.feed_of(Type::fixed(1, 1), |_, _| phase as f32);
                // Also of a history, whose first block is none of its output.
                let state = c.scope.open(Arc::new(Delay { backward: false }), Type::sequence(5));
                c.scope.close(state, x);
                vec![x.sample(every, phase), state.sample(every, phase)]
            },
        );
    }
}

#[test]
fn times_that_are_no_multiple_of_a_step_are_refused_with_the_nearest() {
    let said = Messages::of("times that are no multiple of a step are refused with the nearest");
    let message = |every: f64| Simulator::new(&network(every), &devices()[1]).err().unwrap().to_string();
    let text = message(0.0025);
    said.text(&text);
    said.text(message(0.0004));
    said.text(message(1e9));
    // A quotient that is whole but for rounding is accepted.
    assert!(Simulator::new(&network(0.1 + 0.2), &devices()[1]).is_ok());

    let mut net = network(0.01);
    let layer = net.find("layer").unwrap();
    for bad in [0.0, -0.01, f64::NAN, f64::INFINITY] {
        said.error(net.probe_every("q", Target::Output(layer, None), bad));
    }
    said.error(net.probe_every("q", Target::Norm("layer/weights".into()), 0.01));
}

#[test]
fn a_sink_gets_the_recorded_rows() {
    let net = network(0.003);
    for device in devices() {
        let mut sim = with(&net, device);
        sim.run_steps(5, &Data::new()).unwrap();
        sim.run_steps(50, &Data::new()).unwrap();
        let mut other = with(&net, device);
        other.run_steps(5, &Data::new()).unwrap();
        other.limit_windows(Some(8)).unwrap();
        for probe in net.probe_ids() {
            let all = sim.data(probe).unwrap();
            let first = other.data(probe).unwrap().len_of(Axis(1));
            let rows = other.rows_of(probe, 50);
            assert_eq!(first + rows, all.len_of(Axis(1)), "{}", net.probe_name(probe));
        }
        let mut next = 0;
        other
            .run_steps_with(50, &Data::new(), &mut |window| {
                assert_eq!(window.steps.start, next);
                assert_eq!(window.examples, 0..2);
                next = window.steps.end;
                for recorded in window.recorded {
                    let all = sim.data(recorded.probe).unwrap();
                    let skip = all.len_of(Axis(1)) - sim_rows(&net, recorded.probe);
                    let from = skip + recorded.first_row;
                    let rows = recorded.values.len_of(Axis(1));
                    assert_eq!(recorded.values, all.slice(s![.., from..from + rows, ..]), "{device}");
                }
                Ok(())
            })
            .unwrap();
        assert_eq!((next, other.n_steps()), (50, 55));
    }
    /// Rows of the last 50 of 55 steps.
    fn sim_rows(net: &Network, probe: ProbeId) -> usize {
        if net.probe_name(probe).starts_with("all") { 50 } else { 55 / 3 - 5 / 3 }
    }
}

#[test]
fn a_long_run_into_a_sink_keeps_nothing() {
    let said = Messages::of("a long run into a sink keeps nothing");
    let mut net = Network::new(0);
    let wave = net.node("wave", Node::function(1, |t| vec![(7.0 * t).sin() as f32])).unwrap();
    let probe = net.add_probe("p", Target::Output(wave, Some(Synapse::Lowpass(0.1)))).unwrap();
    for device in devices() {
        let mut sim = Simulator::new(&net, device).unwrap();
        let (mut rows, mut bytes) = (0, Vec::new());
        let mut go = |sim: &mut Simulator, steps| {
            sim.run_steps_with(steps, &Data::new(), &mut |window| {
                rows += window.recorded[0].values.len_of(Axis(1));
                Ok(())
            })
            .unwrap();
            bytes.push(sim.allocated_bytes());
        };
        go(&mut sim, 2048);
        go(&mut sim, 100 * 1024);
        assert_eq!(rows, 102 * 1024);
        assert_eq!(bytes[0], bytes[1], "memory of the device on {device}");
        said.error(sim.data(probe));
    }
}

#[test]
fn a_failing_sink_ends_the_run_and_the_simulator_continues_from_there() {
    let said = Messages::of("a failing sink ends the run and the simulator continues from there");
    let net = network(0.003);
    let whole = {
        let mut sim = with(&net, &devices()[1]);
        sim.run_steps(20, &Data::new()).unwrap();
        sim.data(net.probe_ids().next().unwrap()).unwrap()
    };
    for device in devices() {
        let mut sim = with(&net, device);
        sim.limit_windows(Some(8)).unwrap();
        let mut windows = 0;
        let result = sim.run_steps_with(20, &Data::new(), &mut |_| {
            windows += 1;
            if windows == 2 { Err(Error::invalid("the sink", "full")) } else { Ok(()) }
        });
        said.error(result);
        assert_eq!(sim.n_steps(), 16);
        sim.run_steps(4, &Data::new()).unwrap();
        let rest = sim.data(net.probe_ids().next().unwrap()).unwrap();
        let off = (&rest - &whole.slice(s![.., 16.., ..])).mapv(f32::abs).fold(0.0, |a: f32, &b| a.max(b));
        assert!(off < 1e-6, "off by {off} on {device}");
    }
}

#[test]
fn files_of_a_run_hold_its_records() {
    let net = network(0.003);
    let dir = tempfile::tempdir().unwrap();
    let (npy, npz) = (dir.path().join("all.npy"), dir.path().join("both.npz"));
    for device in devices() {
        let mut recorded = with(&net, device);
        recorded.run_steps(30, &Data::new()).unwrap();
        let mut sim = with(&net, device);
        sim.limit_windows(Some(7)).unwrap();
        let [all, some] = [0, 1].map(|i| net.probe_ids().nth(i).unwrap());
        let shape = |sim: &Simulator, probe| [2, sim.rows_of(probe, 30), 3];
        let mut one = NpyFile::create(&npy, shape(&sim, all)).unwrap();
        let mut both = NpzFile::create(&npz).unwrap();
        for probe in [all, some] {
            both.add(net.probe_name(probe), shape(&sim, probe)).unwrap();
        }
        sim.run_steps_with(30, &Data::new(), &mut |window| {
            for (i, part) in window.recorded[..2].iter().enumerate() {
                if i == 0 {
                    one.write(0, part.first_row, part.values.view())?;
                }
                both.write(i, 0, part.first_row, part.values.view())?;
            }
            Ok(())
        })
        .unwrap();
        one.finish().unwrap();
        both.finish().unwrap();
        let mut archive = ndarray_npy::NpzReader::new(std::fs::File::open(&npz).unwrap()).unwrap();
        for probe in [all, some] {
            let read: Array3<f32> = archive.by_name(net.probe_name(probe)).unwrap();
            assert_eq!(read, recorded.data(probe).unwrap(), "{} on {device}", net.probe_name(probe));
        }
        assert_eq!(ndarray_npy::read_npy::<_, Array3<f32>>(&npy).unwrap(), recorded.data(all).unwrap());
    }
}

#[test]
fn results_do_not_depend_on_the_length_of_windows() {
    let net = network(0.005);
    for device in devices() {
        let run = |limit| {
            let mut sim = with(&net, device);
            sim.limit_windows(limit).unwrap();
            sim.run_steps(150, &Data::new()).unwrap();
            net.probe_ids().map(|p| sim.data(p).unwrap()).collect::<Vec<_>>()
        };
        let whole = run(Some(150));
        // Left to itself, an adapter begins with short windows and then measures.
        for limit in [None, Some(1), Some(16), Some(64), Some(100)] {
            for (a, b) in run(limit).iter().zip(&whole) {
                let off = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(a.dim() == b.dim() && off < 1e-6, "{limit:?} on {device}: off by {off:e}");
            }
        }
        assert!(with(&net, device).limit_windows(Some(0)).is_err());
    }
}
