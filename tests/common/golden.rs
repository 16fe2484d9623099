//! Files of golden numbers; `tests/golden/README.md` describes them.

use std::fs::File;

use ndarray::ArrayD;
use ndarray_npy::NpzReader;
use nengo_wgpu::Device;
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
        let path = format!("{}/tests/golden/{name}.npz", env!("CARGO_MANIFEST_DIR"));
        let mut file = NpzReader::new(File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"))).unwrap();
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
