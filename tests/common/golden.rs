//! Files of golden numbers; `tests/golden/README.md` describes them.

use std::fs::File;

use ndarray::ArrayD;
use ndarray_npy::NpzReader;
use nengo_wgpu::Device;
use nengo_wgpu::internals::neuron::{
    AdaptiveLif, AdaptiveLifRate, FromRates, Izhikevich, LeakyRelu, Lif, LifRate, NeuronType,
    RectifiedLinear, Sigmoid, Tanh,
};
use serde_json::Value;

/// A file of golden numbers.
pub struct Golden {
    file: NpzReader<File>,
    pub meta: Value,
    /// The largest share of its tolerance that an array has taken.
    pub worst: f64,
}

impl Golden {
    /// The file `tests/golden/NAME.npz`.
    pub fn open(name: &str) -> Self {
        let path = super::root().join(format!("tests/golden/{name}.npz"));
        let mut file =
            NpzReader::new(File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap();
        let meta: ArrayD<u8> = file.by_name("meta").unwrap();
        let meta = serde_json::from_slice(meta.as_slice().unwrap()).unwrap();
        Self { file, meta, worst: 0.0 }
    }

    /// An array of inputs or parameters.
    pub fn input(&mut self, name: &str) -> ArrayD<f32> {
        self.file.by_name(name).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// The names and settings of the cases.
    pub fn cases(&self) -> Vec<(String, Value)> {
        let cases = self.meta["cases"].as_object().unwrap();
        cases.iter().map(|(name, case)| (name.clone(), case.clone())).collect()
    }

    /// An array of results.
    pub fn result(&mut self, name: &str) -> ArrayD<f64> {
        self.file.by_name(name).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Fails unless an array is as near to the golden one as its tolerance says.
    pub fn check(&mut self, name: &str, device: &Device, ours: &[f64]) {
        self.check_as(name, &device.to_string(), ours);
    }

    /// The same for an array that `how` computed.
    pub fn check_as(&mut self, name: &str, how: &str, ours: &[f64]) {
        let golden = self.result(name);
        let tolerance =
            self.meta["tolerance"][name].as_f64().unwrap_or_else(|| panic!("{name}: no tolerance"));
        assert_eq!(ours.len(), golden.len(), "{name}: another size");
        let largest = golden.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
        let off = ours.iter().zip(&golden).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(ours.iter().all(|x| x.is_finite()), "{name} on {how}: not finite");
        let limit = if largest > 1e-30 { tolerance * largest } else { tolerance };
        assert!(off <= limit, "{name} on {how}: off by {off:.2e}, allowed {limit:.2e}");
        self.worst = self.worst.max(off / limit);
    }
}

/// A neuron type as the files write it.
pub fn neuron(spec: &Value) -> NeuronType {
    let get = |name: &str| spec[name].as_f64().unwrap_or_else(|| panic!("no number {name} in {spec}"));
    let lif = || LifRate { tau_rc: get("tau_rc"), tau_ref: get("tau_ref"), amplitude: get("amplitude") };
    let spiking = || {
        let LifRate { tau_rc, tau_ref, amplitude } = lif();
        let min_voltage = spec["min_voltage"].as_f64().unwrap_or(f64::NEG_INFINITY);
        Lif { tau_rc, tau_ref, amplitude, min_voltage }
    };
    let leaky = || LeakyRelu { slope: get("negative_slope"), amplitude: get("amplitude") };
    match spec["type"].as_str().unwrap() {
        "RectifiedLinear" => RectifiedLinear { amplitude: get("amplitude") }.into(),
        "SpikingRectifiedLinear" => {
            NeuronType::SpikingRectifiedLinear(RectifiedLinear { amplitude: get("amplitude") })
        }
        "LeakyReLU" => leaky().into(),
        "SpikingLeakyReLU" => NeuronType::SpikingLeakyRelu(leaky()),
        "Sigmoid" => Sigmoid { tau_ref: get("tau_ref") }.into(),
        "Tanh" => Tanh { tau_ref: get("tau_ref") }.into(),
        "LIFRate" => lif().into(),
        "SoftLIFRate" => lif().soft(get("sigma")).into(),
        "LIF" => spiking().into(),
        "AdaptiveLIFRate" => {
            let LifRate { tau_rc, tau_ref, amplitude } = lif();
            AdaptiveLifRate { tau_rc, tau_ref, amplitude, tau_n: get("tau_n"), inc_n: get("inc_n") }.into()
        }
        "AdaptiveLIF" => {
            let Lif { tau_rc, tau_ref, min_voltage, amplitude } = spiking();
            let (tau_n, inc_n) = (get("tau_n"), get("inc_n"));
            AdaptiveLif { tau_rc, tau_ref, min_voltage, amplitude, tau_n, inc_n }.into()
        }
        "Izhikevich" => Izhikevich {
            tau_recovery: get("tau_recovery"),
            coupling: get("coupling"),
            reset_voltage: get("reset_voltage"),
            reset_recovery: get("reset_recovery"),
        }
        .into(),
        "RegularSpiking" => NeuronType::RegularSpiking(FromRates {
            base: Box::new(neuron(&spec["base_type"])),
            amplitude: get("amplitude"),
        }),
        other => panic!("unknown type {other}"),
    }
}
