//! Parameters of a simulator: read, set, saved and loaded.

use std::path::Path;

use ndarray::Array2;

use crate::error::{Error, Result};
use crate::io::params;
use crate::network::{self, ConnectionId, Network, ParameterDef};
use crate::plan::ParameterPlace;
use crate::sim::core::Core;
use crate::sim::shared::{Shared, SharedBuffers};

impl Core {
    /// Allocates the buffer of all parameters.
    pub(crate) fn allocate_parameters(&mut self) -> Result<()> {
        let len = self.layout.floats();
        let limit = self.device.target().max_binding;
        if len > limit {
            return Err(Error::TooLarge {
                what: "all parameters together".into(),
                needed: 4 * len as u64,
                limit: 4 * limit as u64,
                device: self.device.name().into(),
                hint: "make the layers smaller".into(),
            });
        }
        self.shared = SharedBuffers::new(self.engine.allocate(len, "parameters")?);
        Ok(())
    }

    /// Sets parameters to their initial values.
    pub(crate) fn initial_parameters(&mut self) -> Result<()> {
        for (i, p) in self.network.parameters.iter().enumerate() {
            let values = p.init.values(p.rows, p.cols, network::seed_of(self.seed, &p.name));
            let offset = self.layout.places[i].offset;
            self.engine.write(self.shared.get(Shared::Parameters), offset, &values)?;
        }
        Ok(())
    }

    /// Values of a parameter.
    pub(crate) fn parameter(&mut self, name: &str) -> Result<Array2<f32>> {
        self.read_parameter(Shared::Parameters, name)
    }

    /// Gradient of a parameter in the last training step, without penalties.
    pub(crate) fn gradient(&mut self, name: &str) -> Result<Array2<f32>> {
        if !self.shared.has(Shared::Gradients) {
            return Err(Error::invalid(
                "gradient",
                "nothing has been trained yet; call compile and fit first",
            ));
        }
        self.read_parameter(Shared::Gradients, name)
    }

    fn read_parameter(&mut self, buffer: Shared, name: &str) -> Result<Array2<f32>> {
        let i = self.network.parameter_index(name)?;
        let place = &self.layout.places[i];
        let (rows, cols) = (place.ty.rows, place.ty.cols);
        let values = self.engine.read(self.shared.get(buffer), place.offset, rows * cols)?;
        Array2::from_shape_vec((rows, cols), values).map_err(|e| Error::invalid(name, e.to_string()))
    }

    /// Sets a parameter.
    pub(crate) fn set_parameter(&mut self, name: &str, values: &Array2<f32>) -> Result<()> {
        let i = self.network.parameter_index(name)?;
        let place = &self.layout.places[i];
        if values.dim() != (place.ty.rows, place.ty.cols) {
            let got = format!("{:?}", values.shape());
            return Err(Error::shape(format!("parameter '{name}'"), place.ty, "the values given", got));
        }
        if let Some(bad) = values.iter().find(|x| !x.is_finite()) {
            return Err(Error::invalid(format!("the values for '{name}'"), format!("they hold {bad}")));
        }
        let values: Vec<f32> = values.iter().copied().collect();
        self.engine.write(self.shared.get(Shared::Parameters), place.offset, &values)
    }

    /// L2 norm of a parameter.
    pub(crate) fn l2_norm(&mut self, name: &str) -> Result<f64> {
        let values = self.parameter(name)?;
        Ok(values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt())
    }

    /// Writes all parameters to a safetensors file.
    pub(crate) fn save_parameters(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let values = self.read_all(Shared::Parameters)?;
        let tensors = self.named_tensors(&values, "");
        let borrowed: Vec<_> =
            tensors.iter().map(|(n, shape, data)| (n.as_str(), shape.clone(), *data)).collect();
        params::save(path, &borrowed, &params::Metadata::new())
    }

    /// Loads all parameters from a safetensors file.
    pub(crate) fn load_parameters(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let (tensors, _) = params::load(&path)?;
        params::check_keys(&path, &self.expected(), &tensors)?;
        if let Some((name, bad)) =
            tensors.iter().find_map(|(n, (_, data))| Some((n, *data.iter().find(|x| !x.is_finite())?)))
        {
            return Err(Error::file(path.as_ref(), format!("parameter '{name}' holds {bad}")));
        }
        for (name, (_, data)) in &tensors {
            let i = self.network.parameter_index(name)?;
            self.engine.write(self.shared.get(Shared::Parameters), self.layout.places[i].offset, data)?;
        }
        Ok(())
    }

    /// The network with the current parameters as initial values.
    pub(crate) fn freeze(&mut self) -> Result<Network> {
        let names: Vec<String> = self.network.parameters.iter().map(|p| p.name.clone()).collect();
        let values = names.iter().map(|n| self.parameter(n)).collect::<Result<Vec<_>>>()?;
        let mut network = self.network.clone();
        network.set_starts(values);
        Ok(network)
    }

    /// Current weights of a connection, as (size_out, size_in).
    pub(crate) fn weights(&mut self, connection: ConnectionId) -> Result<Array2<f32>> {
        let name = format!("{}/weights", self.network.connection_name(connection)?);
        self.parameter(&name)
    }

    /// Names and shapes of all parameters.
    pub(crate) fn expected(&self) -> Vec<(String, Vec<usize>)> {
        self.network.parameters.iter().map(|p| (p.name.clone(), vec![p.rows, p.cols])).collect()
    }

    /// Values of a shared buffer with the parameters' layout.
    pub(crate) fn read_all(&mut self, buffer: Shared) -> Result<Vec<f32>> {
        self.engine.read(self.shared.get(buffer), 0, self.layout.floats())
    }

    /// Names (after `prefix`), shapes and values of the parameters in such a buffer.
    pub(crate) fn named_tensors<'v>(
        &self,
        values: &'v [f32],
        prefix: &str,
    ) -> Vec<(String, Vec<usize>, &'v [f32])> {
        let named = |(p, place): (&ParameterDef, &ParameterPlace)| {
            let data = &values[place.offset..place.offset + p.rows * p.cols];
            (format!("{prefix}{}", p.name), vec![p.rows, p.cols], data)
        };
        self.network.parameters.iter().zip(&self.layout.places).map(named).collect()
    }
}
