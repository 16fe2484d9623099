//! Circular convolution of two vectors, by products of their Fourier coefficients.

use std::f64::consts::TAU;

use ndarray::Array2;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::network::library::{Product, ProductParts, matrix, passthrough};
use crate::network::{Connection, Network, ObjectId};

/// The circular convolution `c[i] = sum(a[j] b[i - j])` of two vectors, with indices modulo their size.
///
/// With F = DFT(a) and G = DFT(b), four real products per coefficient of the spectrum's lower half give DFT(c). The
/// transforms before and after the products are initialised as the DFT and its inverse.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CircularConvolution {
    /// Neurons per product.
    pub n_neurons: usize,
    /// Dimensions of each vector.
    pub dimensions: usize,
    /// Use the involution of the first vector (its reverse); false by default.
    #[serde(default)]
    pub invert_a: bool,
    /// Use the involution of the second vector, which gives the correlation; false by default.
    #[serde(default)]
    pub invert_b: bool,
    /// Largest expected length of a vector; 1 by default.
    #[serde(default = "one")]
    pub input_magnitude: f64,
}

fn one() -> f64 {
    1.0
}

/// The objects of a [`CircularConvolution`].
#[derive(Clone, Copy, Debug)]
pub struct CircularConvolutionParts {
    /// `NAME.input_a`
    pub input_a: ObjectId,
    /// `NAME.input_b`
    pub input_b: ObjectId,
    /// `NAME.output`
    pub output: ObjectId,
    /// `NAME.product`
    pub product: ProductParts,
}

impl CircularConvolution {
    /// Convolves vectors of length 1, none inverted.
    pub fn new(n_neurons: usize, dimensions: usize) -> Self {
        Self { n_neurons, dimensions, invert_a: false, invert_b: false, input_magnitude: one() }
    }

    /// Adds the objects under a name.
    ///
    /// # Errors
    /// A name that is taken, or invalid settings.
    pub fn add(&self, net: &mut Network, name: &str) -> Result<CircularConvolutionParts> {
        let Self { n_neurons, dimensions: d, invert_a, invert_b, input_magnitude } = *self;
        if d == 0 || d > 1 << 15 {
            let problem = format!("it has {d} dimensions; 1 to 32768 are possible");
            return Err(Error::invalid(format!("circular convolution '{name}'"), problem));
        }
        net.within(name, |net| {
            let input_a = passthrough(net, "input_a", d)?;
            let input_b = passthrough(net, "input_b", d)?;
            let output = passthrough(net, "output", d)?;
            let magnitude = 2.0 * input_magnitude;
            let product = Product { input_magnitude: magnitude, ..Product::new(n_neurons, products(d)) };
            let product = product.add(net, "product")?;
            let new = Connection::new;
            net.connect(input_a, product.input_a, matrix(new(), &transform_in(d, Side::A, invert_a)))?;
            net.connect(input_b, product.input_b, matrix(new(), &transform_in(d, Side::B, invert_b)))?;
            net.connect(product.output, output, matrix(new(), &transform_out(d)))?;
            Ok(CircularConvolutionParts { input_a, input_b, output, product })
        })
    }
}

/// The side of a product, which determines its order of a coefficient's parts: real·real, imaginary·imaginary,
/// real·imaginary and imaginary·real.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    A,
    B,
}

/// Number of products: four for each coefficient of the spectrum's lower half.
fn products(d: usize) -> usize {
    4 * (d / 2 + 1)
}

/// Real and imaginary part of `exp(-2πi k x / d)`.
fn dft(d: usize, k: usize, x: usize) -> (f64, f64) {
    // Reduce the product modulo `d` while it is exact.
    let angle = -TAU * ((k * x) % d) as f64 / d as f64;
    (angle.cos(), angle.sin())
}

fn transform_in(d: usize, side: Side, invert: bool) -> Array2<f64> {
    Array2::from_shape_fn((products(d), d), |(row, x)| {
        let (re, im) = dft(d, row / 4, x);
        let im = if invert { -im } else { im };
        let real = match side {
            Side::A => row % 2 == 0,
            Side::B => matches!(row % 4, 0 | 3),
        };
        if real { re } else { im }
    })
}

/// Sums products to coefficients and applies the real part of the inverse DFT. Coefficients of the upper half are conjugates
/// of those of the lower half, so coefficients with a partner count twice.
fn transform_out(d: usize) -> Array2<f64> {
    Array2::from_shape_fn((d, products(d)), |(x, col)| {
        let k = col / 4;
        let (re, im) = dft(d, k, x);
        let part = match col % 4 {
            0 => re,
            1 => -re,
            // Real part of i times the conjugate.
            _ => im,
        };
        let twice = if k == 0 || 2 * k == d { 1.0 } else { 2.0 };
        twice * part / d as f64
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;

    #[test]
    fn the_transforms_around_exact_products_convolve() {
        for d in [1, 2, 5, 8] {
            let a = Array1::from_shape_fn(d, |i| (1.3 * i as f64 + 0.2).sin());
            let b = Array1::from_shape_fn(d, |i| (0.7 * i as f64).cos());
            for (invert_a, invert_b) in [(false, false), (true, false), (false, true)] {
                let products =
                    transform_in(d, Side::A, invert_a).dot(&a) * transform_in(d, Side::B, invert_b).dot(&b);
                let c = transform_out(d).dot(&products);
                let wrapped = |v: &Array1<f64>, i: isize| v[i.rem_euclid(d as isize) as usize];
                for i in 0..d {
                    let term = |j: usize| {
                        let (i, j) = (i as isize, j as isize);
                        let x = if invert_a { wrapped(&a, -j) } else { wrapped(&a, j) };
                        x * if invert_b { wrapped(&b, j - i) } else { wrapped(&b, i - j) }
                    };
                    let wanted: f64 = (0..d).map(term).sum();
                    assert!((c[i] - wanted).abs() < 1e-12, "{d} {i}: {} {wanted}", c[i]);
                }
            }
        }
    }
}
