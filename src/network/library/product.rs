//! Products of the elements of two vectors.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::network::library::{passthrough, scaled};
use crate::network::{Decoding, Ensemble, Function, Network, ObjectId};

/// The elementwise product of two vectors, from two squares: `a b = ((a + b)² - (a - b)²) / 4` (Gosmann 2015).
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Product {
    /// Neurons of each dimension; half of them for each square.
    pub n_neurons: usize,
    /// Dimensions of each vector.
    pub dimensions: usize,
    /// Largest size that an element is expected to have; 1.
    #[serde(default = "one")]
    pub input_magnitude: f64,
}

fn one() -> f64 {
    1.0
}

/// The objects of a [`Product`].
#[derive(Clone, Copy, Debug)]
pub struct ProductParts {
    /// `NAME.input_a`
    pub input_a: ObjectId,
    /// `NAME.input_b`
    pub input_b: ObjectId,
    /// `NAME.output`
    pub output: ObjectId,
    /// The array that squares sums.
    pub sq1: ObjectId,
    /// The array that squares differences.
    pub sq2: ObjectId,
}

impl Product {
    /// With inputs of magnitude 1.
    pub fn new(n_neurons: usize, dimensions: usize) -> Self {
        Self { n_neurons, dimensions, input_magnitude: one() }
    }

    /// Adds it under a name.
    ///
    /// # Errors
    /// A name that is taken, or settings that make no sense.
    pub fn add(&self, net: &mut Network, name: &str) -> Result<ProductParts> {
        let Self { n_neurons, dimensions: d, input_magnitude } = *self;
        if n_neurons == 0 {
            return Err(Error::invalid(format!("product '{name}'"), "it has 0 neurons; it needs at least 1"));
        }
        net.within(name, |net| {
            let input_a = passthrough(net, "input_a", d)?;
            let input_b = passthrough(net, "input_b", d)?;
            let output = passthrough(net, "output", d)?;
            // Neither a sum nor a difference of two leaves this radius, once both are divided by the root of 2.
            let array = || Ensemble::array((n_neurons / 2).max(1), d).radius(input_magnitude * SQRT_2);
            let (sq1, sq2) = (net.ensemble("sq1", array())?, net.ensemble("sq2", array())?);
            let square = Function::parse("square")?;
            for (array, sign) in [(sq1, 1.0), (sq2, -1.0)] {
                scaled(net, input_a, array, FRAC_1_SQRT_2)?;
                scaled(net, input_b, array, sign * FRAC_1_SQRT_2)?;
                let squares = net.add_output(array, "square", Decoding::of(square.clone()))?;
                scaled(net, squares, output, sign * 0.5)?;
            }
            Ok(ProductParts { input_a, input_b, output, sq1, sq2 })
        })
    }
}
