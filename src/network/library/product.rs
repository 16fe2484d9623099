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
    /// Neurons per dimension; each of the two squares gets half.
    pub n_neurons: usize,
    /// Dimensions of each vector.
    pub dimensions: usize,
    /// Largest expected absolute value of an element; 1 by default.
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
    /// Array of squared sums.
    pub sq1: ObjectId,
    /// Array of squared differences.
    pub sq2: ObjectId,
}

impl Product {
    /// A product of inputs with magnitude 1.
    pub fn new(n_neurons: usize, dimensions: usize) -> Self {
        Self { n_neurons, dimensions, input_magnitude: one() }
    }

    /// Adds the objects under a name.
    ///
    /// # Errors
    /// A name that is taken, or invalid settings.
    pub fn add(&self, net: &mut Network, name: &str) -> Result<ProductParts> {
        let Self { n_neurons, dimensions: d, input_magnitude } = *self;
        if n_neurons == 0 {
            return Err(Error::invalid(format!("product '{name}'"), "it has 0 neurons; it needs at least 1"));
        }
        net.within(name, |net| {
            let input_a = passthrough(net, "input_a", d)?;
            let input_b = passthrough(net, "input_b", d)?;
            let output = passthrough(net, "output", d)?;
            // Sums and differences, divided by the root of 2, stay within this radius.
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
